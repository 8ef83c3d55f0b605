"""Says what an idle stream costs nginx and the workers in memory, by how it comes:
`python -m tests.proofs.cost.memory [--streams 1000]`. Each line is of a new stack."""

from __future__ import annotations

import argparse
import contextlib
import re
import socket
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.clients import http2
from tests.support.clients.eventsource import until
from tests.support.clients.wire import request
from tests.support.processes import descendants
from tests.support.stack import Stack, connections

WAYS = ("HTTP/1.1", "HTTP/1.1, TLS", "HTTP/2, TLS, a connection each", "HTTP/2, TLS, 20 a connection")


def memory(pids: Iterable[int]) -> float:
    """Kilobytes of these processes, in which what several share is split among them."""
    told = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    return sum(int(found[1]) for text in told if (found := re.search(r"^Pss: +(\d+)", text, re.MULTILINE)))


def secured(address: str) -> ssl.SSLSocket:
    """A connection of HTTP/1.1 over TLS."""
    host, port = address.split(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection((host, int(port)), timeout=60))


def opener(stack: Stack, way: str, stay: contextlib.ExitStack) -> Callable[[int], None]:
    """The function that opens so many streams on a connection, which lasts as long as `stay`."""
    address, fields = str(stack.settings["http"]), {"authorization": stack.bearer("many")["Authorization"]}
    said = request("GET /events?since=now", f"Authorization: {fields['authorization']}")

    def one(_: int) -> None:
        host, port = address.split(":")
        client = secured(address) if "TLS" in way else socket.create_connection((host, int(port)), timeout=60)
        stay.enter_context(client).sendall(said)

    def several(count: int) -> None:
        client = stay.enter_context(http2.connected(address))
        client.sendall(b"".join(http2.get(2 * number + 1, "/events?since=now", fields) for number in range(count)))

    return several if way.startswith("HTTP/2") else one


def measure(way: str, streams: int) -> None:
    """Open the streams, and print what each takes."""
    tls = {"tls": "self-signed"} if "TLS" in way else {}
    each = 20 if "20" in way else 1
    with TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "data", workers=1, max_connections_per_user=10**6, **tls)
        try:
            with contextlib.ExitStack() as stay:
                open_some = opener(stack, way, stay)
                open_some(1)
                until(lambda: connections(stack, "many") == 1, "the first stream")
                nginx, workers = stack.pids()["nginx"], stack.pids()["gunicorn"]
                nginx = list({*nginx, *(pid for parent in nginx for pid in descendants(parent))})
                before = memory(nginx), memory(workers)
                for _ in range(streams // each):
                    open_some(each)
                until(lambda: connections(stack, "many") == 1 + streams, "all streams", 300)
                after = memory(nginx), memory(workers)
        finally:
            stack.stop()
    per = [(now - then) / streams for now, then in zip(after, before, strict=True)]
    print(f"{way:32} nginx {per[0]:6.1f} KB a stream   workers {per[1]:6.1f} KB a stream", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the memory of idle streams.")
    parser.add_argument("--streams", type=int, default=1000)
    given = parser.parse_args()
    for way in WAYS:
        measure(way, given.streams)


if __name__ == "__main__":
    main()
