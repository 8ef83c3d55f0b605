"""Attacks by HTTP/2 over TLS: requests that are taken back at once, and answers that are never read."""

from __future__ import annotations

import contextlib
import json
import time

from tests.proofs.cost.attack import Attack, Target
from tests.support.clients import http2

_RESETS = 1000  # requests on a connection; nginx ends it then
_STREAMS = 100  # of a connection; nginx takes 128
_NON_READER_SECONDS = 5.0
_TLS = {"tls": "self-signed", "trusted_proxies": "127.0.0.1"}


def _bearer(target: Target) -> dict[str, str]:
    """The token, and an address that nginx counts, unlike this machine's own."""
    return {"authorization": target.bearer("mallory").partition(": ")[2], "x-forwarded-for": "203.0.113.7"}


def _rapid_reset(target: Target, _: object) -> None:
    fields = _bearer(target)
    with contextlib.suppress(OSError), http2.connected(target.http) as client:
        for number in range(1, 2 * _RESETS, 2):
            client.sendall(http2.get(number, "/events?since=now", fields) + http2.reset(number))


def _fill(target: Target) -> None:
    for _ in range(10):
        body = json.dumps([{"user": "mallory", "data": "x" * 64_000}] * 10).encode()
        target.ask("POST /publish", "Content-Type: application/json", target.bearer(publish=["*"]), body=body)


def _never_read(path: str) -> Attack:
    def send(target: Target, _: object) -> None:
        fields = _bearer(target)
        with contextlib.suppress(OSError), http2.connected(target.http, window=1) as client:
            client.sendall(b"".join(http2.get(number, path, fields) for number in range(1, 2 * _STREAMS, 2)))
            time.sleep(_NON_READER_SECONDS)

    return Attack(send, _fill, at_once=4, settings=_TLS)


ATTACKS = {
    "rapid-reset": Attack(_rapid_reset, at_once=4, settings=_TLS),
    "unread-pages": _never_read("/history?channel=user:mallory&limit=1000"),
    "unread-streams": _never_read("/events?since=earliest"),
}
