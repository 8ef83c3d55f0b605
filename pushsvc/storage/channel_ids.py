"""The ids that each channel keeps, remembered to count events: Redis has no count of a part of a stream, and reads all
of an entry for its id."""

from __future__ import annotations

import threading
import time
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from pushsvc.events.event import BEGINNING, EventId
from pushsvc.storage.clock import Clock
from pushsvc.storage.log import EventLog, Kept

MOST_IDS: Final = 500_000  # of all channels, at 24 bytes each, unless one channel alone has more
MOST_CHANNELS: Final = 1000
CHANNEL_WEIGHT: Final = 30  # what a channel without ids takes, counted in ids
FRESH_SECONDS: Final = 30.0  # after which a channel is read anew: an operator may have deleted events


class ChannelIds:
    """Counts the events that channels keep after an id. A channel is read once, in parts, and then what is new."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._known: OrderedDict[str, _Ids] = OrderedDict()  # by channel; the first was begun longest ago
        self._weight = 0  # of all that are known

    def count(self, channel: str, after: EventId | None, clock: Clock) -> int:
        """Count the events after an id (None: from the beginning) that are still delivered. Raises Unavailable."""
        known = self._known.get(channel)
        if known is None or known.epoch != clock.epochs.current or known.is_old:
            self._drop(channel)
            known = self._known[channel] = _Ids(clock.epochs.current)
        try:
            with known.reading:  # one reads, the others wait for that
                more = True
                while more:
                    more, found = self._log.ids(channel, known.last)
                    known.add(found)
        finally:
            if self._known.get(channel) is known:  # else it was dropped meanwhile
                self._weight += known.weigh()
            self._forget()
        return known.count(after or BEGINNING, clock, self._log.keep_events)

    def _forget(self) -> None:
        while len(self._known) > 1:
            channel, oldest = next(iter(self._known.items()))
            if not oldest.is_old and len(self._known) <= MOST_CHANNELS and self._weight <= MOST_IDS:
                return
            self._drop(channel)

    def _drop(self, channel: str) -> None:
        known = self._known.pop(channel, None)
        if known is not None:
            self._weight -= known.weight


class _Ids:
    """The ids of a channel in an epoch of the data."""

    def __init__(self, epoch: bytes) -> None:
        self.epoch = epoch
        self.reading = threading.Lock()
        self.last: EventId | None = None
        self.weight = 0  # when it was weighed last
        self._since = time.monotonic()
        self._ms, self._seqs, self._deadlines = array("Q"), array("Q"), array("Q")  # a deadline of 0: none

    def __len__(self) -> int:
        return len(self._ms)

    @property
    def is_old(self) -> bool:
        return time.monotonic() - self._since > FRESH_SECONDS

    def weigh(self) -> int:
        """Weigh it, and give how much heavier it is than before."""
        before, self.weight = self.weight, CHANNEL_WEIGHT + len(self)
        return self.weight - before

    def add(self, found: Iterable[Kept]) -> None:
        """Add ids, rising."""
        for each in found:
            self._ms.append(each.id.ms)
            self._seqs.append(each.id.seq)
            self._deadlines.append(each.deadline)
            self.last = each.id

    def count(self, after: EventId, clock: Clock, most: int) -> int:
        """Count those after an id, of the newest `most`, whose time is not over."""
        first = max(len(self) - most, bisect_right(self._ms, clock.cutoff - 1))
        at = bisect_right(range(len(self)), after, key=lambda place: EventId(self._ms[place], self._seqs[place]))
        first = max(0, first, at)
        left = self._deadlines[first:]
        return len(left) - sum(1 for deadline in left if deadline and deadline <= clock.now)
