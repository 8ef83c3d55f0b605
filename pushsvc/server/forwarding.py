"""WSGI middleware that undoes what a proxy in front changes in a request, and decides which proxies to trust."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from pushsvc.config import Settings

_FOR: Final = "HTTP_X_FORWARDED_FOR"
_PROTO: Final = "HTTP_X_FORWARDED_PROTO"
# Headers that are never believed, because most proxies pass them on as a stranger sent them.
_OTHERS: Final = tuple(
    f"HTTP_{name}"
    for name in (
        "FORWARDED", "X_FORWARDED_HOST", "X_FORWARDED_PORT", "X_FORWARDED_PREFIX", "X_FORWARDED_PROTOCOL",
        "X_FORWARDED_SCHEME", "X_FORWARDED_SSL", "X_REAL_IP", "X_SCRIPT_NAME",
    )
)  # fmt: skip
_LONGEST_LIST: Final = 2048  # characters of X-Forwarded-For that are looked at, from its end
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class Forwarding:
    """WSGI middleware (PEP 3333): takes the client's address and scheme from trusted proxies, and serves each path with
    and without the path of PUBLIC_URL in front of it, because some proxies remove that path and others do not."""

    def __init__(self, application: Any, settings: Settings, own_paths: Iterable[str]) -> None:
        """`own_paths`: the application's paths. If PUBLIC_URL's path is one of them, it stays as it is when nothing
        follows it."""
        self._application = application
        self._networks = [ipaddress.ip_network(each) for each in settings.trusted_proxies]
        self._path = settings.public_path
        self._index = "" if self._path in own_paths else self._path
        # Both are called with each request, mostly with the same few proxies and with clients that were here before.
        self._trusts = lru_cache(maxsize=1024)(self._is_trusted)
        self._client = lru_cache(maxsize=4096)(self._named_client)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer a request (PEP 3333)."""
        addresses, schemes = environ.pop(_FOR, ""), environ.pop(_PROTO, "")
        for name in _OTHERS:
            environ.pop(name, None)
        if (addresses or schemes) and self._trusts(environ.get("REMOTE_ADDR", "")):
            environ["wsgi.url_scheme"] = _scheme(schemes) or environ["wsgi.url_scheme"]
            client = self._client(addresses[-_LONGEST_LIST:])
            if client is not None:
                environ["REMOTE_ADDR"] = client
        if self._path:
            self._strip(environ)
        return self._application(environ, start_response)

    def scheme(self, peer: str, schemes: str) -> str | None:
        """Find the scheme with which the browser called. `peer`: as for `_is_trusted`; `schemes`: X-Forwarded-Proto.
        None: no trusted proxy says it."""
        return _scheme(schemes) if schemes and self._trusts(peer) else None

    def own_path(self, path: str) -> str:
        """Remove the path of PUBLIC_URL from a request's path."""
        if self._path and (path.startswith(f"{self._path}/") or path == self._index):
            return path[len(self._path) :] or "/"
        return path

    def _named_client(self, addresses: str) -> str | None:
        """Find the last address in X-Forwarded-For that is not a trusted proxy's. None: there is no valid address."""
        client = None
        for each in reversed(addresses.split(",")):
            address = _address(each)
            if address is None:
                break
            client = str(address)
            if not self._trusts(client):
                break
        return client

    def _is_trusted(self, text: str) -> bool:
        """Whether a peer is a trusted proxy. `text`: its address; empty for a unix socket."""
        if not text:
            return True
        address = _address(text)
        return address is not None and (address.is_loopback or any(address in each for each in self._networks))

    def _strip(self, environ: dict[str, Any]) -> None:
        path = environ.get("PATH_INFO", "")
        own = self.own_path(path)
        if own != path:
            environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + self._path
            environ["PATH_INFO"] = own


def _scheme(schemes: str) -> str | None:
    """Read X-Forwarded-Proto; of several proxies' schemes the first is the browser's."""
    return _SCHEMES.get(schemes) or _SCHEMES.get(schemes.partition(",")[0].strip().lower())


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Parse an address; a port after it, which some proxies add, is dropped. None: it is no address."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
