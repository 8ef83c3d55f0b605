"""What a models' server says before its first token, which is held back as long as another may be asked. Pure."""

from __future__ import annotations

import re
from typing import Final

MOST_HELD: Final = 65536  # bytes
_TOKEN: Final = re.compile(rb'"(?:content|refusal|reasoning\w*|thinking|arguments|text|name|delta)"\s*:\s*"[^"]')


class Held:
    """The beginning of an answer."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def is_comment(self, piece: bytes) -> bool:
        """Whether this piece is a mere comment before all else, and so a sign of life."""
        return not self._pieces and piece.lstrip().startswith(b":") and b"data" not in piece

    def add(self, piece: bytes) -> bool:
        """Hold a piece. True: a token is in it, or it is too much to be held."""
        self._pieces.append(piece)
        held = b"".join(self._pieces)
        return len(held) >= MOST_HELD or _TOKEN.search(held) is not None

    @property
    def tells_error(self) -> bool:
        """Whether there is an error in it."""
        return b'"error"' in b"".join(self._pieces)

    def take(self) -> bytes:
        """Hold it no more."""
        held, self._pieces = b"".join(self._pieces), []
        return held
