"""The addresses of several servers in one URL, with one account for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

# Not with what uses them: gunicorn's master imports this, and redis must not be there before gevent has patched what
# that imports.
SENTINEL_SCHEMES: Final = ("redis+sentinel://", "rediss+sentinel://")
CLUSTER_SCHEMES: Final = ("redis+cluster://", "rediss+cluster://")
_TLS: Final = "rediss"

Address = tuple[str, int]


class Addresses(NamedTuple):
    """`options` are those of the query; `path` is without the slash that it begins with."""

    tls: bool
    user: str | None
    password: str | None
    servers: list[Address]
    path: str
    options: Mapping[str, str]


def parse(url: str, port: int, known: frozenset[str] = frozenset()) -> Addresses:
    """`port`: of addresses that name none; `known`: options there may be. Raises ValueError."""
    parts = urlsplit(url)
    options = {name: values[-1] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
    if not options.keys() <= known:
        raise ValueError(f"unknown options: {' '.join(options.keys() - known)}")
    account, _, addresses = parts.netloc.rpartition("@")
    user, _, password = account.partition(":") if ":" in account else ("", "", account)
    return Addresses(
        parts.scheme.startswith(_TLS),
        unquote(user) or None,
        unquote(password) or None,
        [_address(each, port) for each in addresses.split(",")],
        unquote(parts.path.removeprefix("/")),
        options,
    )


def _address(text: str, port: int) -> Address:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.username or parts.path:
        raise ValueError("an address should be host or host:port")
    return parts.hostname, parts.port or port
