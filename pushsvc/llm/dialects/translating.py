"""Translates the stream of an answer for the clients of another API, wherever its bytes are written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol

import orjson

from pushsvc.concurrency.shares import SharedSlice
from pushsvc.delivery.transports.coding import Coder
from pushsvc.events import exact_json, sse
from pushsvc.events.encoded import EncodedBatch, EncodedEvent
from pushsvc.llm.formats.continuing import is_continued, without_continued
from pushsvc.llm.formats.joining import Json

_END: Final = b"[DONE]"
_ID: Final = b"id: "


class Translator(Protocol):
    """Turns the events of one answer, in order and from the first on, into events of another API. The same events give
    the same bytes, on whichever worker and however often, so a client can resume at any of them."""

    def begin(self) -> bytes:
        """The bytes before the first event."""

    def take(self, chunk: Json) -> bytes:
        """The bytes for a chunk, or for the error that ended the answer."""

    def done(self) -> bytes:
        """The bytes for the end of the answer."""


def translated(translator: Translator, events: Iterable[EncodedEvent]) -> bytes:
    """The bytes for events that come after `begin`. It may yield: who asks for long answers again and again lets others
    in."""
    turn, found = SharedSlice(), list[bytes]()
    for event in events:
        turn.yield_if_over()
        found.append(_told(translator, event.wire))
    return b"".join(found)


def _told(translator: Translator, event: bytes) -> bytes:
    """The bytes for one event of the log."""
    if is_continued(event):
        return b""
    data = sse.read_event(event)[1]
    if data == _END.decode():
        return translator.done()
    return translator.take(read(data.encode()))


def read(data: bytes) -> Json:
    """A chunk as it stands in the log, whose JSON was checked before it was written."""
    value: Any
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:  # half of a surrogate pair, or a number of many digits
        value = exact_json.loads_leniently(data)
    return value if isinstance(value, dict) else {}


def dumps(value: Any) -> bytes:
    """JSON of what came from a chunk, also with half of a surrogate pair."""
    try:
        return orjson.dumps(value)
    except (TypeError, orjson.JSONEncodeError):
        return exact_json.dumps(value, lone=True)


class TranslatingCoder:
    """The coder of a stream that is translated. What has no id is no event of the log, and passes as it is: heartbeats,
    and the word of the service that it ends the stream."""

    __slots__ = ("_inner", "_translator")

    def __init__(self, translator: Translator, inner: Coder | None) -> None:
        """`inner`: the content coding on top."""
        self._translator = translator
        self._inner = inner

    def encode(self, batch: EncodedBatch) -> bytes:
        """See Coder. Batches hold whole events and comments."""
        told: list[bytes] = []
        for block in batch.wire.split(b"\n\n"):
            while block.startswith(b":"):  # a comment is a line alone
                comment, _, block = block.partition(b"\n")
                told.append(comment + b"\n")
            if block.startswith(_ID):
                told.append(_told(self._translator, block))
            elif block:
                told.append(block + b"\n\n")
        wire = b"".join(told)
        if self._inner is None or not wire:
            return wire
        return self._inner.encode(EncodedBatch(wire))

    def end(self) -> bytes:
        """See Coder."""
        return b"" if self._inner is None else self._inner.end()


class ChunksCoder:
    """The coder of a stream whose client takes each event for a chunk: what says that another worker goes on is left
    out."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Coder | None) -> None:
        """`inner`: the content coding on top."""
        self._inner = inner

    def encode(self, batch: EncodedBatch) -> bytes:
        """See Coder. Batches hold whole events and comments."""
        wire = without_continued(batch.wire)
        if self._inner is None or not wire:
            return wire
        return self._inner.encode(batch if wire is batch.wire else EncodedBatch(wire))

    def end(self) -> bytes:
        """See Coder."""
        return b"" if self._inner is None else self._inner.end()
