"""The address of Redis, as PUSHSVC_REDIS_URL gives it.

The parser guesses nothing, and passes no ambiguous value to a library. A password that is not percent-encoded spills
into other parts of the URL. So no error repeats any part: each may be a piece of the password.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from pushsvc.addresses.redis_options import (
    CLUSTER_SCHEMES,
    FILE_OPTIONS,
    SCHEMES,
    SENTINEL_SCHEMES,
    TLS_SCHEMES,
    UNIX_SCHEME,
    decoded,
    holds_at_sign,
    read_options,
)

__all__ = [
    "CLUSTER_SCHEMES", "SCHEMES", "SENTINEL_SCHEMES", "Address", "RedisUrl", "at_socket", "from_anywhere", "parse",
]  # fmt: skip

# These stand here and not beside their users: gunicorn's master imports this module, and must not import redis before
# gevent has patched the standard library.
Address = tuple[str, int]

_ENCODE: Final = "should be encoded: encode @ : / # ? % in the password and in the user, such as %40 for @"
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_NAME: Final = re.compile(r"[\w.\-]{1,253}")
_MOST_DATABASES: Final = 2**31 - 1


@dataclass(frozen=True)
class RedisUrl:
    """A parsed URL. `servers`: host and port of each server; empty for a unix socket, whose path is `path`. `service`:
    the sentinels' name for the master."""

    scheme: str
    user: str
    password: str = field(repr=False)
    servers: tuple[Address, ...]
    path: str
    service: str
    options: Mapping[str, Any] = field(repr=False)

    @property
    def tls(self) -> bool:
        """Whether connections use TLS."""
        return self.scheme in TLS_SCHEMES


def parse(url: str) -> RedisUrl:
    """Parse the value of PUSHSVC_REDIS_URL. Raises ValueError; its text continues the setting's name, and holds
    no part of the URL."""
    scheme = next((each for each in SCHEMES if url.startswith(each)), None)
    if scheme is None:
        raise ValueError(f"should start with one of {' '.join(SCHEMES)}")
    before, _, query = _whole(url.removeprefix(scheme)).partition("?")
    authority, _, path = before.partition("/")
    account, _, hosts = authority.rpartition("@")
    if (
        "@" in account
        or account.count(":") > 1
        or ("@" in path and (authority or scheme != UNIX_SCHEME))
        or holds_at_sign(query)
    ):
        raise ValueError(_ENCODE)
    user, _, password = (_account_part(each) for each in account.partition(":"))
    servers: tuple[Address, ...] = ()
    socket, service, db = "", "", None
    if scheme == UNIX_SCHEME:
        socket = _socket(hosts, path)
    elif scheme in SENTINEL_SCHEMES:
        servers, service = _servers(hosts, _SENTINEL_PORT), _service(path)
    elif scheme in CLUSTER_SCHEMES:
        servers = _servers(hosts, _PORT)
        if path:
            raise ValueError("should have no path: a cluster has no databases to choose from")
    else:
        if "," in hosts:
            raise ValueError("should name one server; several are for +sentinel:// and +cluster://")
        servers, db = _servers(hosts, _PORT), _database(path)
    options = dict(read_options(query, scheme))
    if db is not None and options.setdefault("db", db) != db:
        raise ValueError("should name one database, in its path or as db")
    return RedisUrl(scheme, user, password, servers, socket, service, options)


def _whole(rest: str) -> str:
    """Parse everything behind the scheme."""
    try:
        rest.encode()
    except UnicodeEncodeError:  # Python decodes bytes of the environment that are not UTF-8 to lone surrogates
        raise ValueError("should be valid UTF-8") from None
    if "#" in rest:
        raise ValueError(_ENCODE if "@" in rest else "should have no fragment: encode # as %23")
    if re.search(r"[\x00-\x1f\x7f]", rest):
        raise ValueError("should have no control character")
    return rest


def _account_part(text: str) -> str:
    try:
        return decoded(text)
    except ValueError:
        raise ValueError(_ENCODE) from None


def _servers(text: str, port: int) -> tuple[Address, ...]:
    """Parse servers with commas between them. `port`: the default port."""
    if not text:
        raise ValueError("should name a host behind its //, or behind the @ of its user and password")
    return tuple(_server(each, port) for each in text.split(","))


def _server(text: str, port: int) -> Address:
    """Parse `host`, `host:port`, or an IPv6 address in brackets."""
    match = re.fullmatch(r"(?:\[([^\[\]]*)\]|([^\[\]:]*))(?::([^:]*))?", text)
    if match is None:
        raise ValueError("should name each server as host:port, an address of IPv6 as [::1]:6379")
    bracketed, name, given = match.groups()
    if given is not None and not (re.fullmatch(r"[0-9]{1,5}", given) and 0 < int(given) < 65536):
        raise ValueError("should have ports from 1 to 65535")
    return _ipv6(bracketed) if name is None else _host(name), port if given is None else int(given)


def _host(name: str) -> str:
    try:
        name.encode("idna")  # as name resolution does; it refuses empty and long labels
    except UnicodeError:
        name = ""
    if not _NAME.fullmatch(name):
        raise ValueError("should name each server by a host name or an address")
    return name


def _ipv6(text: str) -> str:
    text = text.replace("%25", "%", 1)  # RFC 6874: the encoded % before the zone
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        raise ValueError("should have an address of IPv6 in its brackets") from None
    return text


def _socket(hosts: str, path: str) -> str:
    """Parse `unix://[user:password@]/path`."""
    if hosts:
        raise ValueError("should have the whole path of the socket, such as unix:///run/redis/redis.sock")
    found = decoded(path, errors="surrogateescape")
    if not found.strip("/") or "\0" in found:
        raise ValueError("should have the path of a socket, such as unix:///run/redis/redis.sock")
    return f"/{found}"


def _service(path: str) -> str:
    found = decoded(path.removesuffix("/"))
    if not found:
        raise ValueError("should end in the name under which the sentinels know the master, such as /mymaster")
    if "/" in path.removesuffix("/"):
        raise ValueError("should have nothing behind the name of the master in its path; a database goes into ?db=3")
    return found


def _database(path: str) -> int | None:
    text = path.removesuffix("/")
    if not path:
        return None
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > _MOST_DATABASES:
        raise ValueError("should have nothing but the number of a database as its path, such as /3")
    return int(text)


def at_socket(path: os.PathLike[str]) -> str:
    """The URL of a server at a unix socket."""
    return f"{UNIX_SCHEME}{quote(os.fsencode(path))}"


def from_anywhere(url: str) -> str:
    """The same URL with absolute file paths, which are valid in any working directory. `url`: a valid URL."""
    before, mark, query = url.partition("?")
    return before + mark + "&".join(map(_absolute, query.split("&")))


def _absolute(piece: str) -> str:
    name, _, value = piece.partition("=")
    return f"{name}={quote(os.path.abspath(decoded(value, plus=True)))}" if name in FILE_OPTIONS else piece
