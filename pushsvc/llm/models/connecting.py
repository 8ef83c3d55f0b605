"""Connections to a model's server: names, proxies, TLS and certificates, by urllib3."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from urllib3.connection import HTTPConnection, HTTPSConnection

from pushsvc.errors import ConfigError
from pushsvc.llm.models.proxies import Proxies
from pushsvc.llm.models.request import Origin, Request

_FILES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # OpenSSL reads these itself, and says nothing where they are wrong
_NO_HEADERS: Final[Mapping[str, str]] = {}


class Connector:
    """Makes connections to origins, through the proxies of the environment."""

    def __init__(self, connect_seconds: float) -> None:
        """Raises ConfigError if the certificates that the environment names are not there."""
        self._seconds = connect_seconds
        for name in _FILES:
            if (value := os.environ.get(name)) and not Path(value).exists():
                raise ConfigError(f"{name} is {value!r}: should be where the certificates are that are trusted")
        self._tls = ssl.create_default_context()
        self._proxies = Proxies()

    def check(self, origin: Origin) -> None:
        """Raise ConfigError if the proxy towards a server is not spoken to."""
        self._proxies.towards(origin)

    def connection(self, origin: Origin) -> HTTPConnection:
        """A connection that is not open yet. Raises ConfigError as `check` does."""
        proxy = self._proxies.towards(origin)
        host, port = (origin.host, origin.port) if proxy is None else (proxy.host, proxy.port)
        if not origin.is_tls:
            return HTTPConnection(host, port, timeout=self._seconds)
        connection = HTTPSConnection(host, port, timeout=self._seconds, ssl_context=self._tls)
        if proxy is not None:
            connection.set_tunnel(origin.host, origin.port, dict(proxy.headers), scheme="http")
        return connection

    def target(self, request: Request) -> str:
        """The target of the request's first line: a proxy that reads the request gets the whole address."""
        if request.origin.is_tls or self._proxies.towards(request.origin) is None:
            return request.target
        return f"http://{request.origin.address}{request.target}"

    def headers(self, request: Request) -> Mapping[str, str]:
        """The headers for a proxy that reads the request."""
        proxy = None if request.origin.is_tls else self._proxies.towards(request.origin)
        return _NO_HEADERS if proxy is None else proxy.headers
