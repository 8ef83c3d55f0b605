"""Publishes what the outbox holds, in the order of its rows."""

from __future__ import annotations

import logging
import threading
from typing import Final

from pushsvc.client import Publisher, PublishError
from pushsvc.client.backoff import Backoff
from pushsvc.client.items import Json
from pushsvc.contrib.outbox.store import Away, Store

logger = logging.getLogger("pushsvc.relay")

BATCH: Final = 500
INTERVAL_SECONDS: Final = 0.2  # between two looks at an empty table
STANDBY_SECONDS: Final = 1.0  # between two tries to lead
MOST_PAUSE_SECONDS: Final = 15.0


class Later(Exception):
    """The service takes nothing for now; the message says why."""


class Relay:
    """Takes rows, publishes them under their keys, and then deletes them."""

    def __init__(self, store: Store, push: Publisher, *, batch: int = BATCH) -> None:
        self._store = store
        self._push = push
        self._batch = batch

    def step(self) -> int:
        """Publish the oldest rows. Returns how many there were. Raises Away, or Later if some are still to be
        published."""
        rows = self._store.pending(self._batch)
        if not rows:
            return 0
        published, refused = [], []
        later: PublishError | None = None
        for row, result in zip(rows, self._push.publish_many([Json(row.item) for row in rows]), strict=True):
            if not isinstance(result, PublishError):
                published.append(row.id)
            elif result.temporary or result.of_request:
                later = later or result
            else:
                refused.append((result.detail, row.id))
                logger.error("row %d of the outbox was refused: %s", row.id, result.detail)
        self._store.settle(published, refused)
        if later is not None:
            raise Later(later.detail)
        return len(rows)

    def run(self, ending: threading.Event, *, drain: bool = False) -> None:
        """Work until `ending` is set; `drain`: or until the outbox is empty. While the database or the service is away
        it tries again, and says so once."""
        backoff, said = Backoff(0.2, MOST_PAUSE_SECONDS), ""
        while not ending.is_set():
            try:
                leads = self._store.leads()
                found = self.step() if leads else len(self._store.pending(1))
                if drain and not found:
                    break
                pause = STANDBY_SECONDS if not leads else 0.0 if found else INTERVAL_SECONDS
                if said:
                    logger.warning("the relay goes on")
                said = ""
                backoff.reset()
            except (Away, Later) as error:
                if str(error) != said:
                    said = str(error)
                    logger.warning("the relay waits: %s", said)
                pause = backoff.pause(None)
            ending.wait(pause)
        self._store.close()
