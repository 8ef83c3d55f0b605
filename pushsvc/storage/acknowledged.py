"""The newest acknowledged ids. With them a worker notices that Redis lost events even if no client was connected.

Each process writes them to a file of its own with every receipt. All workers of a machine read these files when a new
epoch of the data begins, before they serve clients in it. They take over the files of processes that have ended, so
the ids outlive a worker. One loss cannot be detected: Redis loses events that only this machine's workers acknowledged,
and the machine at the same time loses its DATA_DIR, or its last seconds by a power cut (the files are not synced).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pushsvc.events.event import BEGINNING, EventId
from pushsvc.storage.journal import Journal

MOST_EPOCHS: Final = 8  # in a file; all but the last are checked within a second
_LINE: Final = re.compile(rb"(\d{1,20}-\d{1,20}) (\d{1,20}-\d{1,20})")


class Acknowledged:
    """The newest acknowledged id of each epoch (see epochs.py; named by its first id). Threads may share it."""

    def __init__(self, journal: Journal | None = None) -> None:
        self._journal = journal
        self._newest: dict[bytes, EventId] = {}
        self._saved = True
        self._lock = threading.Lock()

    def note(self, epoch: bytes, event_id: EventId) -> None:
        """Note an id that is being acknowledged. `save` writes it to the file."""
        with self._lock:
            known = self._newest.get(epoch)
            if known is None or event_id > known:
                self._newest[epoch] = event_id
                self._saved = False

    def newest(self) -> dict[bytes, EventId]:
        """The newest ids by epoch, as of now, of this process alone."""
        return dict(self._newest)

    def of_machine(self) -> dict[bytes, EventId]:
        """The newest ids by epoch, over all workers of this machine that run, or have ended and whose files are not
        taken over yet."""
        found = self.newest()
        for epoch, event_id in _read(self._journal.others() if self._journal is not None else []):
            found[epoch] = max(event_id, found.get(epoch, event_id))
        return found

    def forget(self, judged: Mapping[bytes, EventId], but: bytes) -> None:
        """Drop ids that were checked: each is in the data, or its loss is reported. Keep the running epoch `but`."""
        with self._lock:
            for epoch, event_id in judged.items():
                if epoch != but and self._newest.get(epoch) == event_id:
                    del self._newest[epoch]
                    self._saved = False

    def save(self) -> None:
        """Write the file: before receipts go out, and once a loss is recorded elsewhere. When this returns, the file
        holds all ids noted before the call, even if another thread wrote it."""
        if self._journal is None:
            return
        with self._lock:
            if not self._saved:
                self._saved = True
                self._journal.write(self._lines())

    def inherit(self, told: EventId = BEGINNING) -> None:
        """Take over the ids of processes that have ended, except ids before `told`, whose loss is known."""
        if self._journal is not None:
            with self._journal.inherited() as contents:
                for epoch, event_id in _read(contents):
                    if event_id >= told:
                        self.note(epoch, event_id)
                self.save()

    def _lines(self) -> bytes:
        newest = sorted(self._newest.items(), key=lambda item: item[1])[-MOST_EPOCHS:]
        return b"".join(b"%b %b\n" % (epoch, str(event_id).encode()) for epoch, event_id in newest)


def _read(contents: Iterable[bytes]) -> Iterator[tuple[bytes, EventId]]:
    for epoch, event_id in _LINE.findall(b"\n".join(contents)):
        yield epoch, EventId.from_redis(event_id)
