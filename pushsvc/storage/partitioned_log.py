"""Publishing on a cluster: a user's events go to the user's partition, events on shared channels to all partitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import gevent

from pushsvc.concurrency.shares import spawn_owned
from pushsvc.errors import PushError, Unavailable
from pushsvc.events.event import Event
from pushsvc.events.names import user_of
from pushsvc.storage.counts.rates import Along
from pushsvc.storage.log import EventLog, Receipt
from pushsvc.storage.redis.keys import place
from pushsvc.storage.redis.refusals import LOST

_NO_RATES: Final = Along()
_PARTLY: Final = (
    "A part of Redis's cluster is down, and who lives there has not heard this; the others may have. Try again, with "
    "the same key."
)


class JoinedReceipt(NamedTuple):
    """The receipts of all partitions as one. Clients use `id` as an id, and may resume from it in any partition."""

    id: str
    duplicate: bool


class Appender(Protocol):
    """An EventLog, or several of them. `together`: all events go to one Redis, which can count them with the append."""

    @property
    def together(self) -> bool: ...  # noqa: D102

    def append(self, events: Sequence[Event], along: Along = ...) -> Sequence[Receipt | JoinedReceipt | PushError]:
        """See `EventLog.append`."""


class PartitionedLog:
    """An `EventLog` over all partitions, as far as publishing needs it. An event is acknowledged when all its
    partitions have it. If some lack it, a retry with the same key stores it in these and changes nothing in the
    others."""

    def __init__(self, logs: Sequence[EventLog]) -> None:
        self._logs = logs

    together: Final = False

    def append(self, events: Sequence[Event], along: Along = _NO_RATES) -> list[Receipt | JoinedReceipt | PushError]:
        """Append in order within each partition, in all of them at the same time. Each counts new topics for itself."""
        shares: list[list[int]] = [[] for _ in self._logs]  # numbers of events, by partition
        for number, event in enumerate(events):
            user = user_of(event.channel)
            for share in shares if user is None else [shares[place(user, len(shares))]]:
                share.append(number)
        jobs = [
            (share, spawn_owned(log.append, [events[number] for number in share], along))
            for log, share in zip(self._logs, shares, strict=True)
            if share
        ]
        gevent.joinall([job for _, job in jobs], raise_error=True)
        found: list[list[Receipt | PushError]] = [[] for _ in events]
        for share, job in jobs:
            for number, receipt in zip(share, job.value, strict=True):
                found[number].append(receipt)
        return list(map(_whole, found))


def _whole(receipts: Sequence[Receipt | PushError]) -> Receipt | JoinedReceipt | PushError:
    if len(receipts) == 1:
        return receipts[0]
    taken = []
    for receipt in receipts:
        if isinstance(receipt, Unavailable) and receipt.detail == LOST:
            return Unavailable(_PARTLY, retry_after=receipt.retry_after)
        if isinstance(receipt, PushError):
            return receipt
        taken.append(receipt)
    return JoinedReceipt(".".join(str(receipt.id) for receipt in taken), all(receipt.duplicate for receipt in taken))
