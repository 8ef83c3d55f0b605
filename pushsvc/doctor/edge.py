"""The proxy that answers first, and the lines of its configuration by which streams get through."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from pushsvc.addresses import hosts
from pushsvc.doctor.findings import Wrong
from pushsvc.doctor.site import PATIENCE_SECONDS, Site

# Every proxy refuses a field without a colon by itself, in words of its own.
_REFUSED: Final = b"GET / HTTP/1.1\r\nHost: pushsvc\r\nno colon\x01\r\n\r\n"
_LONGEST: Final = 65536  # bytes of a refusal that are looked at


class Edge(NamedTuple):
    """A proxy. `refusal`: how it refuses a request that is malformed; `headers`: what it adds to answers that it passes
    on; empty: the refusal tells enough. `flush`: the line that has it send each piece as it comes; `patience`: the line
    that has it keep a silent stream; empty: no such line is known."""

    name: str
    refusal: str
    headers: str = ""
    flush: str = ""
    patience: str = ""


_GO: Final = r"\r\n\r\n400 Bad Request$"
_EDGES: Final = (
    Edge(
        "HAProxy",
        r"<h1>400 Bad request</h1>\s+Your browser sent an invalid request",
        flush="option http-no-delay (in defaults, or in the frontend and the backend)",
        patience="timeout client 60s and timeout server 60s",
    ),
    Edge("nginx", r"<center>nginx", flush="proxy_buffering off;", patience="proxy_read_timeout 1h;"),
    Edge("Apache", r"\nServer: Apache", patience="ProxyTimeout 3600"),
    Edge("lighttpd", r"\nServer: lighttpd", flush="server.stream-response-body = 1"),
    Edge("Envoy", r"\nserver: envoy", patience="timeout: 0s (of the route)"),
    Edge("Squid", r"\nX-Squid-Error:"),
    Edge("Caddy", _GO, r"\nvia: [^\n]*Caddy"),
    Edge("Varnish", r"^HTTP/1.1 400 Bad Request\r\n\r\n$", r"\n(x-varnish:|via: [^\n]*varnish)"),
    Edge("a proxy written in Go (Traefik)", _GO),
    Edge("a proxy written for Node", r"^HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n$"),
)


def find_edge(site: Site) -> Edge | None:
    """Find who answers first at a site. None: it is not known, or the service itself."""
    told = _refusal(site)
    try:
        given = "".join(f"\n{name}: {value}" for name, value in site.ask("GET", "/healthz").headers.multi_items())
    except Wrong:
        given = ""
    for edge in _EDGES:
        if re.search(edge.refusal, told, re.IGNORECASE) and re.search(edge.headers, given, re.IGNORECASE):
            return edge
    return None


def to_flush(edge: Edge | None) -> str:
    """The line of its configuration by which a proxy sends each event as it comes; where it is not known, those of all
    that have one."""
    return _mend(edge, {each.name: each.flush for each in _EDGES}, "nothing that collects or compresses event streams")


def to_be_patient(edge: Edge | None) -> str:
    """The line by which a proxy keeps a stream on which only heartbeats are sent; where it is not known, as above."""
    return _mend(edge, {each.name: each.patience for each in _EDGES}, "a longer time-out")


def _mend(edge: Edge | None, lines: Mapping[str, str], otherwise: str) -> str:
    if edge:
        what = f"{lines[edge.name] or otherwise}, in {edge.name}"
    else:
        named = [f"{line} ({name})" for name, line in lines.items() if line]
        what = f"in the proxy {otherwise}: {', or '.join(named)}"
    return f"{what}; docs/proxies.md has whole configurations"


def _refusal(site: Site) -> str:
    """The answer to a malformed request; empty: nothing."""
    parts = urlsplit(site.url)
    told = b""
    with suppress(OSError):
        connection = socket.create_connection((parts.hostname or "", hosts.port(parts) or 0), PATIENCE_SECONDS)
        with (
            connection,
            site.trust.wrap_socket(connection, server_hostname=parts.hostname)
            if site.is_https
            else (connection) as stream,
        ):
            stream.sendall(_REFUSED)
            while len(told) < _LONGEST and (piece := stream.recv(_LONGEST)):
                told += piece
    return told.decode("latin-1")
