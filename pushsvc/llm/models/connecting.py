"""Connections to a model's server: names, TLS and certificates, by urllib3."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Final

from urllib3.connection import HTTPConnection, HTTPSConnection

from pushsvc.errors import ConfigError
from pushsvc.llm.models.request import Origin, Request

_FILES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # OpenSSL reads these itself, and says nothing where they are wrong


class Connector:
    """Makes connections to origins."""

    def __init__(self, connect_seconds: float) -> None:
        """Raises ConfigError if the certificates that the environment names are not there."""
        self._seconds = connect_seconds
        for name in _FILES:
            if (value := os.environ.get(name)) and not Path(value).exists():
                raise ConfigError(f"{name} is {value!r}: should be where the certificates are that are trusted")
        self._tls = ssl.create_default_context()

    def connection(self, origin: Origin) -> HTTPConnection:
        """A connection that is not open yet."""
        if origin.is_tls:
            return HTTPSConnection(origin.host, origin.port, timeout=self._seconds, ssl_context=self._tls)
        return HTTPConnection(origin.host, origin.port, timeout=self._seconds)

    def target(self, request: Request) -> str:
        """The target of the request's first line."""
        return request.target
