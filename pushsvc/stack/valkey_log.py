"""Picks from the embedded server's own log the messages that an operator should see."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_TOLD: Final = {
    re.compile(rb"Truncating the AOF (\S+) at offset (\d+)"): (
        "its data ended in the middle of a write, as after a power cut; what was torn is cut off ({0}, byte {1})"
    ),
    re.compile(rb"Error writing to the AOF file: (.+)"): "cannot write to its disk, so it takes no events: {0}",
    re.compile(rb"Short write while writing to the AOF file"): "has no room on its disk, so it takes no events",
    re.compile(rb"AOF write error looks solved"): "can write to its disk again",
    re.compile(rb"Bad file format reading the append only file (\S+?):"): (
        "its data is damaged ({0}); put a backup back, or cut it off where it is damaged with valkey-check-aof --fix"
    ),
}


class ServerLog:
    """Follows the log from its present end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = path.stat().st_size if path.exists() else 0

    def news(self) -> Iterator[str]:
        """Yield the messages for an operator in the lines that were written since the last call."""
        try:
            with self._path.open("rb") as log:
                log.seek(self._at)
                lines = log.read()
        except FileNotFoundError:
            return
        lines = lines[: lines.rfind(b"\n") + 1]  # a line that is still being written is read the next time
        self._at += len(lines)
        for line in lines.splitlines():
            for pattern, told in _TOLD.items():
                if match := pattern.search(line):
                    yield told.format(*(group.decode(errors="replace") for group in match.groups()))
