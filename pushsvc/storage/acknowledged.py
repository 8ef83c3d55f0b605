"""What was acknowledged here, so that a worker notices when Redis has lost it, though nobody was listening.

Each process notes it in a file of its own with every receipt. All workers of a machine read these when the data has
another life, before they serve anybody in it; and take over the files of those that have ended, so what a worker
acknowledged outlives it. What remains unknowable: what the workers of one machine alone acknowledged in
its last seconds, if it loses power (nothing is synced) or its DATA_DIR while Redis loses those events.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pushsvc.events.event import BEGINNING, EventId
from pushsvc.storage.journal import Journal

MOST_LIVES: Final = 8  # of the data, in a file; all but the last are looked at within a second
_LINE: Final = re.compile(rb"(\d{1,20}-\d{1,20}) (\d{1,20}-\d{1,20})")


class Acknowledged:
    """The newest id in each life of the data (see epochs.py) in which any was acknowledged. Threads may share it."""

    def __init__(self, journal: Journal | None = None) -> None:
        self._journal = journal
        self._newest: dict[bytes, EventId] = {}
        self._saved = True
        self._lock = threading.Lock()

    def note(self, life: bytes, event_id: EventId) -> None:
        with self._lock:
            known = self._newest.get(life)
            if known is None or event_id > known:
                self._newest[life] = event_id
                self._saved = False

    def newest(self) -> dict[bytes, EventId]:
        """By life, as of now."""
        return dict(self._newest)

    def of_machine(self) -> dict[bytes, EventId]:
        """As `newest`, by any worker of this machine that lives, or has no heir yet."""
        found = self.newest()
        for life, event_id in _read(self._journal.others() if self._journal is not None else []):
            found[life] = max(event_id, found.get(life, event_id))
        return found

    def forget(self, judged: Mapping[bytes, EventId], but: bytes) -> None:
        """These were looked at, and all of them are told or are there; the life `but` goes on."""
        with self._lock:
            for life, event_id in judged.items():
                if life != but and self._newest.get(life) == event_id:
                    del self._newest[life]
                    self._saved = False

    def save(self) -> None:
        """Before the receipts go out, and once all that was forgotten is known elsewhere. All noted before is in the
        file when this returns, also if another thread wrote it."""
        if self._journal is None:
            return
        with self._lock:
            if not self._saved:
                self._saved = True
                self._journal.write(self._lines())

    def inherit(self, told: EventId = BEGINNING) -> None:
        """Take over what processes noted that have ended since, except what was before `told`: that is known."""
        if self._journal is not None:
            with self._journal.inherited() as contents:
                for life, event_id in _read(contents):
                    if event_id >= told:
                        self.note(life, event_id)
                self.save()

    def _lines(self) -> bytes:
        newest = sorted(self._newest.items(), key=lambda item: item[1])[-MOST_LIVES:]
        return b"".join(b"%b %b\n" % (life, str(event_id).encode()) for life, event_id in newest)


def _read(contents: Iterable[bytes]) -> Iterator[tuple[bytes, EventId]]:
    for life, event_id in _LINE.findall(b"\n".join(contents)):
        yield life, EventId.from_redis(event_id)
