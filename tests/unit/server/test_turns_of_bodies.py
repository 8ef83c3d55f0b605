"""A client whose body is awaited takes nobody's time; one that sends fast takes turns with the others."""

from __future__ import annotations

from types import SimpleNamespace

import gevent
import pytest

from pushsvc.concurrency import loops
from pushsvc.concurrency.shares import SharedSlice
from pushsvc.server.wire.body import as_input, body_of
from pushsvc.server.wire.connection import Connection
from pushsvc.server.wire.head import Head


class Client:
    """A socket whose pieces take a second each."""

    def __init__(self, pieces: list[bytes], waits: bool) -> None:
        self.pieces = pieces
        self.waits = waits
        self.now = 0.0

    def recv(self, most: int) -> bytes:
        self.now += 1.0
        if self.waits:
            loops.give_turn()
        return self.pieces.pop(0)


@pytest.mark.parametrize("fields", [{"content-length": "6"}, {"transfer-encoding": "chunked"}])
@pytest.mark.parametrize("waits", [True, False])
def test_only_a_body_that_comes_fast_waits_for_others(
    fields: dict[str, str], waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = [b"ab", b"cd", b"ef"]
    if "content-length" not in fields:
        pieces = [b"2\r\n%b\r\n" % piece for piece in pieces] + [b"0\r\n\r\n"]
    client, given = Client(pieces, waits), list[float]()
    monkeypatch.setattr(loops, "time", SimpleNamespace(monotonic=lambda: client.now))
    monkeypatch.setattr(SharedSlice, "_give", lambda _: given.append(client.now))
    connection = Connection(client, None)
    reading = gevent.spawn(as_input(connection, body_of(connection, Head("POST", "/", "HTTP/1.1", fields))).read)
    assert reading.get(timeout=10) == b"abcdef"
    assert bool(given) is not waits
