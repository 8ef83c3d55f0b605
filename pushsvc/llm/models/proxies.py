"""The proxies of the environment, by which a company's servers reach the outside: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY
and NO_PROXY, in capital or small letters, as OpenAI's client reads them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import (  # type: ignore[attr-defined]  # typeshed lacks the second
    getproxies_environment,
    proxy_bypass_environment,
)

from pushsvc.errors import ConfigError
from pushsvc.llm.models.request import Origin

_PORT: Final = 80


class Proxy(NamedTuple):
    """A proxy. `headers`: that it is sent: the user and the password, if it wants any."""

    host: str
    port: int
    headers: Mapping[str, str]


class Proxies:
    """The proxies, and where each leads."""

    def __init__(self) -> None:
        self._found = getproxies_environment()
        self._made: dict[str, Proxy] = {}

    def towards(self, origin: Origin) -> Proxy | None:
        """The proxy by which a server is reached. None: it is reached without. Raises ConfigError for a proxy that is
        not spoken to."""
        address = self._found.get(origin.scheme) or self._found.get("all")
        if not address or proxy_bypass_environment(origin.address, self._found):
            return None
        if address not in self._made:
            self._made[address] = _proxy(address, origin.scheme)
        return self._made[address]


def _proxy(address: str, scheme: str) -> Proxy:
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme != "http":
        raise ConfigError(f"{scheme.upper()}_PROXY should be such as http://proxy.example.com:3128, spoken to in clear")
    headers = {}
    if parts.username is not None:
        named = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers["Proxy-Authorization"] = f"Basic {base64.b64encode(named).decode()}"
    return Proxy(host, port or _PORT, headers)
