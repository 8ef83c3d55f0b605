"""The part of an answer that is still to be written to the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pushsvc.llm.formats import openai
from pushsvc.llm.formats.openai import Chunk
from pushsvc.llm.making import sizes
from pushsvc.llm.outcome import Ending
from pushsvc.llm.store import PendingFrames

_NO_CHUNKS: Final[Sequence[Chunk]] = ()  # shared by all that wait, to save memory


class Outbox:
    """Collects chunks while a write is under way, and gives them as the next write."""

    __slots__ = ("_bytes", "_chunks", "_first", "_number", "_writing")

    def __init__(self, number: int = 0, first: bytes = b"") -> None:
        """`number`: of the last write before; `first`: a frame before all others."""
        self._first = first
        self._chunks: Sequence[Chunk] = _NO_CHUNKS
        self._bytes = 0
        self._number = number
        self._writing: tuple[PendingFrames, Ending | None] | None = None  # repeated until Redis has it

    def __bool__(self) -> bool:
        return bool(self._chunks)

    @property
    def is_empty(self) -> bool:
        """Whether all that was taken is written."""
        return not self._chunks and self._writing is None

    def add(self, chunk: Chunk) -> None:
        """Take a chunk."""
        if isinstance(self._chunks, list):
            self._chunks.append(chunk)
        else:
            self._chunks = [chunk]
        self._bytes += len(chunk.raw)

    @property
    def is_full(self) -> bool:
        """Whether so much waits that no more should be read from the model."""
        return self._bytes > sizes.MOST_UNWRITTEN

    def next_write(self, generation_id: str, ending: Ending | None) -> tuple[PendingFrames, Ending | None]:
        """Give the next write; with an ending it is the last. Until it is written, every call gives the same."""
        if self._writing is None:
            self._number += 1
            frames = openai.frames(self._chunks) if self._chunks else []
            if self._first:
                frames.insert(0, self._first)
            self._chunks, self._bytes, self._first = _NO_CHUNKS, 0, b""
            self._writing = PendingFrames(generation_id, self._number, frames), ending
        return self._writing

    def written(self) -> None:
        """Take note that Redis has the write."""
        self._writing = None

    def drop(self) -> None:
        """Write nothing of what was taken."""
        self._chunks, self._bytes, self._writing = _NO_CHUNKS, 0, None
