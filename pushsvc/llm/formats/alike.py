"""Recognises a chunk that differs from an earlier one only in its text, by its bytes alone: nothing else in it can be
news, so it need not be parsed. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple, Self

from pushsvc.llm.formats.openai import Chunk, only_text

_PLAIN: Final = re.compile(
    rb'[^"\\\x00-\x1f]*'
)  # the inside of a JSON string without escapes; its UTF-8 is not looked at
_PADDING: Final = re.compile(rb'"obfuscation"\s*:\s*"([^"\\]*)"')  # of a length that differs, in OpenAI's chunks


class Alike(NamedTuple):
    """The bytes of a chunk that carries only text: those `before` its text, those `after` it up to its padding, and
    those after that, `end`. `chunk`: the chunk itself."""

    chunk: Chunk
    before: bytes
    after: bytes
    end: bytes
    padded: bool

    @classmethod
    def of(cls, chunk: Chunk) -> Self | None:
        """Learn from a chunk what others look like. None: it carries more than text."""
        text = only_text(chunk)
        if text is None:
            return None
        padding = _PADDING.search(text.after)
        if padding is None:
            return cls(chunk, text.before, text.after, b"", padded=False)
        return cls(chunk, text.before, text.after[: padding.start(1)], text.after[padding.end(1) :], padded=True)

    def read(self, raw: bytes) -> Chunk | None:
        """Read a chunk. Its value is that of `chunk`, with another text. None: these bytes do not show that it is like
        that; it is to be parsed."""
        begin = len(self.before)
        end = raw.find(b'"', begin)
        rest = end + len(self.after)
        if end < 0 or not (raw.startswith(self.before) and raw.startswith(self.after, end) and raw.endswith(self.end)):
            return None
        last = len(raw) - len(self.end)
        if rest > last if self.padded else rest != last:
            return None
        if not _PLAIN.fullmatch(raw, begin, end) or (self.padded and not _PLAIN.fullmatch(raw, rest, last)):
            return None
        if not raw.isascii():
            try:
                raw.decode()
            except UnicodeDecodeError:
                return None
        return Chunk(raw, self.chunk.value)
