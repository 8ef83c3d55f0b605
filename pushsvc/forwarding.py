"""Between the server and the application: how a proxy in front changes a request, and whose word on that counts."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from pushsvc.config import Settings

_FOR: Final = "HTTP_X_FORWARDED_FOR"
_PROTO: Final = "HTTP_X_FORWARDED_PROTO"
# Believed from nobody: most proxies pass on what a stranger sent.
_OTHERS: Final = tuple(
    f"HTTP_{name}"
    for name in (
        "FORWARDED", "X_FORWARDED_HOST", "X_FORWARDED_PORT", "X_FORWARDED_PREFIX", "X_FORWARDED_PROTOCOL",
        "X_FORWARDED_SCHEME", "X_FORWARDED_SSL", "X_REAL_IP", "X_SCRIPT_NAME",
    )
)  # fmt: skip
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class Forwarding:
    """WSGI middleware. Of trusted proxies it takes the client's address and scheme; it serves each path with and
    without that of PUBLIC_URL before it, as some proxies strip it."""

    def __init__(self, application: Any, settings: Settings, own_paths: Iterable[str]) -> None:
        """`own_paths`: the application's, none of which is PUBLIC_URL's path alone."""
        self._application = application
        self._networks = [ipaddress.ip_network(each) for each in settings.trusted_proxies]
        self._path = settings.public_path
        self._index = "" if self._path in own_paths else self._path
        # On the way of each request; a few proxies send them all.
        self._trusts = lru_cache(maxsize=1024)(self._is_trusted)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        addresses, schemes = environ.pop(_FOR, ""), environ.pop(_PROTO, "")
        for name in _OTHERS:
            environ.pop(name, None)
        if (addresses or schemes) and self._trusts(environ.get("REMOTE_ADDR", "")):
            self._believe(environ, addresses, schemes)
        if self._path:
            self._strip(environ)
        return self._application(environ, start_response)

    def _believe(self, environ: dict[str, Any], addresses: str, schemes: str) -> None:
        """The browser's scheme is what the first proxy saw; its address what the last one whom we do not trust had."""
        scheme = _SCHEMES.get(schemes.partition(",")[0].strip().lower())
        if scheme is not None:
            environ["wsgi.url_scheme"] = scheme
        for each in reversed(addresses.split(",")):
            address = _address(each)
            if address is None:
                break
            environ["REMOTE_ADDR"] = str(address)
            if not self._trusts(str(address)):
                break

    def _is_trusted(self, text: str) -> bool:
        """`text`: the peer's address; a unix socket's has none."""
        if not text:
            return True
        address = _address(text)
        return address is not None and (address.is_loopback or any(address in each for each in self._networks))

    def _strip(self, environ: dict[str, Any]) -> None:
        path = environ.get("PATH_INFO", "")
        if path.startswith(f"{self._path}/") or path == self._index:
            environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + self._path
            environ["PATH_INFO"] = path[len(self._path) :] or "/"


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Some proxies name a port too."""
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
