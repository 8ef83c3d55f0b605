"""Web origins (RFC 6454), spelled as browsers send them: lower case, no default port, names in Punycode."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from typing import Final

import idna

# Headers that pages of allowed origins may read; the last three come from a model's server.
EXPOSED: Final = ("Retry-After", "X-Generation-Id", "Retry-After-Ms", "X-Request-Id", "X-Should-Retry")
_ORIGIN: Final = re.compile(
    r"([a-z][a-z0-9+.\-]*)://(\[[0-9a-f:.]+\]|[^\s/?#\[\]@:\\%]+)(?::([0-9]{1,5}))?", re.IGNORECASE
)
_WEB: Final = {"http": 80, "https": 443}  # default port of each scheme
_NAME: Final = re.compile(r"[a-z0-9_\-]+(?:\.[a-z0-9_\-]+)*\.?")
_OTHER_HOST: Final = re.compile(r"[a-z0-9_.~\-]+")  # the host of an extension or application: an id or a name
# Pages with these schemes have no origin of their own: browsers send `null`, or the opener's origin.
_NEVER: Final = frozenset(["about", "blob", "data", "file", "filesystem", "ftp", "javascript", "ws", "wss"])


def parse(text: str) -> str | None:
    """The normal form of an origin. None: no browser sends it as a page's origin, for example `null` or a URL."""
    match = _ORIGIN.fullmatch(text)
    if match is None:
        return None
    scheme, name, digits = match[1].lower(), match[2], match[3]
    host = _web_host(name) if scheme in _WEB else _other_host(name)
    if host is None or scheme in _NEVER or int(digits or 1) > 65535:
        return None
    port = "" if digits is None or int(digits) == _WEB.get(scheme) else f":{int(digits)}"
    return f"{scheme}://{host}{port}"


def of_request(scheme: str, host: str) -> frozenset[str]:
    """The possible origins of a page that was loaded from the same address as this request. `host`: the request's
    `Host` header.

    Where TLS ends in front of the service and no trusted proxy reports it, the page has `https` and the request `http`.
    The reverse is not accepted: anybody on the network path may have written a page with `http`.
    """
    found = {parse(f"{each}://{host}") for each in (scheme, "https")}
    return frozenset(origin for origin in found if origin is not None)


def cors_headers(origin: str, allowed: Collection[str]) -> dict[str, str]:
    """CORS headers for a response that neither the application nor nginx makes. `origin`: the request's."""
    if not allowed:
        return {}
    if parse(origin) not in allowed:
        return {"Vary": "Origin"}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": ", ".join(EXPOSED),
        "Vary": "Origin",
    }


def _web_host(name: str) -> str | None:
    if name.startswith("["):
        return _ipv6(name)
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            return None
    name = name.lower()
    if not _NAME.fullmatch(name) or len(name) > 255:
        return None
    if name.rstrip(".").rpartition(".")[2].isdigit():  # it would be an IPv4 address (WHATWG URL, host parsing)
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            return None
    return name


def _other_host(name: str) -> str | None:
    if name.startswith("["):
        return _ipv6(name)
    name = name.lower()
    return name if _OTHER_HOST.fullmatch(name) and len(name) <= 255 else None


def _ipv6(name: str) -> str | None:
    try:
        return f"[{ipaddress.IPv6Address(name[1:-1])}]"
    except ValueError:
        return None
