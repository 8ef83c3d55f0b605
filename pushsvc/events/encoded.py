"""Batches of events as bytes: joined and framed once, for any number of connections. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from pushsvc.events import websocket
from pushsvc.events.event import EventId
from pushsvc.events.proof import around_proofs, joined


class EncodedEvent(NamedTuple):
    """An event as Redis announced it. `wire`: all of its bytes; `channel`: its name, where that is needed."""

    id: EventId
    wire: bytes
    channel: str = ""


class EncodedBatch:
    """The bytes of one send. `last`: its newest event, None if it holds only a comment or a field."""

    __slots__ = ("_coded", "_framed", "_pieces", "chunk", "events", "last", "wire")

    def __init__(self, wire: bytes, last: EventId | None = None, events: Sequence[EncodedEvent] = ()) -> None:
        self.wire = wire
        self.chunk = chunked(wire)
        self.last = last
        self.events = events
        self._pieces: Sequence[bytes] = ()
        self._coded: dict[str, bytes] | None = None
        self._framed: EncodedBatch | None = None

    @classmethod
    def of(cls, events: Sequence[EncodedEvent]) -> EncodedBatch:
        """Join events: at least one, in order of id."""
        wire = events[0].wire if len(events) == 1 else b"".join([event.wire for event in events])
        return cls(wire, events[-1].id, events)

    @classmethod
    def unchunked(cls, wire: bytes, last: EventId | None = None, events: Sequence[EncodedEvent] = ()) -> EncodedBatch:
        """Bytes that go out as they are: those of a WebSocket."""
        batch = cls(b"", last, events)
        batch.wire = batch.chunk = wire
        return batch

    def framed(self) -> EncodedBatch:
        """The same events as frames of a WebSocket, encoded once for all that get this batch."""
        if self._framed is None:
            wire = b"".join([websocket.frames(event.wire, event.channel) for event in self.events])
            self._framed = EncodedBatch.unchunked(wire, self.last, self.events)
        return self._framed

    def after(self, cursor: EventId) -> EncodedBatch | None:
        """The events of the batch after `cursor`. None: there are none."""
        if self.events[0].id > cursor:
            return self
        new = [event for event in self.events if event.id > cursor]
        return EncodedBatch.of(new) if new else None

    def proven(self, proof: str | None) -> EncodedBatch:
        """The same batch with `proof` behind each id. None: the stream has no proof."""
        if proof is None:
            return self
        self._pieces = self._pieces or around_proofs(self.wire)  # split once, for all streams with a proof
        return EncodedBatch(joined(self._pieces, proof), self.last)

    def coded(self, coding: str, encode: Callable[[bytes], bytes]) -> bytes:
        """The bytes in a coding, made once for all streams that share them."""
        if self._coded is None:
            self._coded = {}
        if coding not in self._coded:
            self._coded[coding] = encode(self.wire)
        return self._coded[coding]


def chunked(wire: bytes) -> bytes:
    """The bytes as one chunk (RFC 9112 section 7.1). No bytes make no chunk, because an empty one is the last."""
    return b"%x\r\n%b\r\n" % (len(wire), wire) if wire else b""


LAST_CHUNK: Final = b"0\r\n\r\n"  # the proper end of a chunked response (RFC 9112 section 7.1)
