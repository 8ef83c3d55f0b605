"""Splits bytes that come in any pieces into lines, within a bound. Pure."""

from __future__ import annotations


class Lines:
    """Collects pieces of a text, and gives its lines without their ends (LF, or CR LF). Blank lines are left out."""

    def __init__(self, most: int) -> None:
        """`most`: bytes of one line; of a longer one nothing is kept."""
        self.most = most
        self._rest = bytearray()
        self._skipping = False  # to the end of a line that is too long

    def feed(self, piece: bytes) -> list[bytes | None]:
        """Give the lines that are complete with this piece. None stands for a line that is too long, as soon as that is
        known."""
        found: list[bytes | None] = []
        *ended, rest = piece.split(b"\n")
        for part in ended:
            self._take(part, found)
            if not self._skipping and (line := bytes(self._rest).strip()):
                found.append(line)
            self._rest.clear()
            self._skipping = False
        self._take(rest, found)
        return found

    def _take(self, part: bytes, found: list[bytes | None]) -> None:
        if self._skipping:
            return
        if len(self._rest) + len(part) > self.most:
            self._skipping = True
            self._rest.clear()
            found.append(None)
        else:
            self._rest += part

    def finish(self) -> list[bytes | None]:
        """Give the last line, if the text does not end with a line end."""
        last = b"" if self._skipping else bytes(self._rest).strip()
        self._rest.clear()
        return [last] if last else []
