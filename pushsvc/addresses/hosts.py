"""Hosts and ports, and the other addresses that a server may listen on."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult

_HOST_PORT: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63})*):([0-9]{1,5})")
# Absolute, as the processes run in different folders; without characters that end a token in nginx's configuration.
_UNIX: Final = re.compile(r"unix:/[^\s\"'\\;{}$:]+")


def host_port(value: str) -> str:
    """Validate `host:port`, for pydantic. Raises ValueError; its text continues the setting's name."""
    match = _HOST_PORT.fullmatch(value)
    if match is None or not 0 < int(match[2]) < 65536:
        raise ValueError("should be host:port, such as 127.0.0.1:8080")
    return value


def address(value: str) -> str:
    """`host:port` or `unix:PATH`, as nginx and gunicorn both spell them."""
    if value.startswith("unix:"):
        if not _UNIX.fullmatch(value):
            raise ValueError("should be unix:/an/absolute/path without blanks, quotes and any of ; { } $ : \\")
        return value
    return host_port(value)


def to_call(address: str) -> str:
    """Give the `host:port` by which this machine calls a server that listens at `host:port`: where that is every
    address, the loopback one."""
    for everywhere, loopback in (("0.0.0.0:", "127.0.0.1:"), ("[::]:", "[::1]:")):
        if address.startswith(everywhere):
            return loopback + address.removeprefix(everywhere)
    return address


def url_to_call(address: str) -> tuple[str, str | None]:
    """Give the URL by which this machine calls a server that listens at `host:port` or `unix:PATH`, and the path of its
    unix socket. None: it has none."""
    if address.startswith("unix:"):
        return "http://localhost", address.removeprefix("unix:")
    return f"http://{to_call(address)}", None


def port(parts: SplitResult) -> int | None:
    """The port of an address, or its scheme's default port. None: the port is invalid."""
    try:
        return parts.port or {"https": 443}.get(parts.scheme, 80)
    except ValueError:
        return None
