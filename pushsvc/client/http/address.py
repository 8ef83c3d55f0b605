"""The service's URL, read strictly."""

from __future__ import annotations

import ssl
from typing import Final, NamedTuple
from urllib.parse import urlsplit

_PORTS: Final = {"http": 80, "https": 443}


class ServiceAddress(NamedTuple):
    """The address of the service. `path`: what stands before the service's own paths."""

    tls: bool
    host: str
    port: int
    path: str

    @property
    def name(self) -> str:
        """Host and port, as the header Host has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.tls else "http"] else f"{host}:{self.port}"


def parse(url: str) -> ServiceAddress:
    """Read a URL such as https://push.example.com. Raises ValueError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"the service's URL cannot be read: {error}") from error
    if parts.scheme not in _PORTS or not host:
        raise ValueError("the service's URL should be like https://push.example.com")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("the service's URL holds a host and a path alone; the token is given apart")
    if not parts.path.isascii() or any(each <= " " for each in url):
        raise ValueError("the service's URL holds white space, or a path that is not percent-encoded")
    return ServiceAddress(parts.scheme == "https", host, port or _PORTS[parts.scheme], parts.path.rstrip("/"))


def trust(address: ServiceAddress, given: ssl.SSLContext | None) -> ssl.SSLContext | None:
    """The TLS settings of connections. None: they have no TLS."""
    if not address.tls:
        return None
    return given or ssl.create_default_context()
