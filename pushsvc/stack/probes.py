"""Checks whether the parts of the stack can start, and whether they are up."""

from __future__ import annotations

import errno
import http.client
import os
import socket
import ssl
from contextlib import closing
from pathlib import Path

import httpx

from pushsvc.addresses import hosts
from pushsvc.config import PREFIX, Settings
from pushsvc.errors import ConfigError


def check_addresses(settings: Settings) -> None:
    """Check that nginx and gunicorn can listen where they should. Raises ConfigError."""
    if settings.http == settings.app:
        raise ConfigError(f"{PREFIX}APP should not be the same as {PREFIX}HTTP, {settings.http}")
    for setting, address in (("HTTP", settings.http), ("APP", settings.app)):
        try:
            if address.startswith("unix:"):
                _try_path(Path(address.removeprefix("unix:")))
            else:
                _try_port(address)
        except OSError as error:
            raise ConfigError(f"{PREFIX}{setting}: cannot listen at {address}: {error.strerror or error}") from error


def _try_port(address: str) -> None:
    host, _, port = address.rpartition(":")
    family, kind, _, _, target = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(target)


def _try_path(path: Path) -> None:
    """Check that a unix socket's path is free, and remove a file that a killed server left there. Raises OSError."""
    with socket.socket(socket.AF_UNIX) as probe:
        if path.is_socket():
            if probe.connect_ex(str(path)) == 0:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            path.unlink()
        probe.bind(str(path))
    path.unlink()


def is_loopback(address: str) -> bool:
    """Whether the address can be reached from this machine only."""
    return address.rpartition(":")[0].strip("[]") in ("127.0.0.1", "localhost", "::1")


def valkey_ready(path: Path) -> bool:
    """Whether Redis answers a plain PING. A Redis client would retry, and so take longer to find out that it does
    not."""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            probe.connect(str(path))
            probe.sendall(b"PING\r\n")
            return probe.recv(16) == b"+PONG\r\n"  # while Redis loads its data, it answers -LOADING
    except OSError:
        return False


class _Introduced(http.client.HTTPConnection):
    """A connection that begins with a header of the PROXY protocol, which names no client: it is our own."""

    def __init__(self, address: str, tls: bool) -> None:
        super().__init__(address, timeout=2.0)
        self._tls = tls

    def connect(self) -> None:
        super().connect()
        self.sock.sendall(b"PROXY UNKNOWN\r\n")
        if self._tls:
            trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
            self.sock = trust.wrap_socket(self.sock)


def nginx_answers(settings: Settings) -> bool:
    """Whether our nginx answers with 200, in the protocol that it speaks."""
    if not settings.proxy_protocol:
        return answers(settings.http, f"{settings.http_url}/healthz")
    with closing(_Introduced(hosts.to_call(settings.http), bool(settings.tls))) as connection:
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


def answers(address: str, url: str) -> bool:
    """Whether the server at an address answers this URL with 200."""
    path = address.removeprefix("unix:") if address.startswith("unix:") else None
    url = url.replace(address, "localhost" if path else hosts.to_call(address))
    transport = httpx.HTTPTransport(uds=path, verify=False)  # no TLS; to load certificates takes 40 ms
    try:
        with httpx.Client(transport=transport, trust_env=False, timeout=2.0) as client:
            return client.get(url).status_code == 200
    except httpx.HTTPError:
        return False
