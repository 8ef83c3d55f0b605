"""Compares what was acked with what each user saw."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence

from chaos.ledger import EventId, Ledger, event_id
from chaos.traffic.wire import Message


class Witness:
    """The events that one user saw, judged as they come; those that never came are found at the end."""

    def __init__(
        self,
        user: str,
        channels: Sequence[str],
        ledger: Ledger,
        clock: Callable[[], float],
        *,
        also: Sequence[str] = (),
    ) -> None:
        """`channels`: all of their events are promised to the user; what comes of `also` is theirs too."""
        self.user = user
        self.channels = frozenset(channels)
        self._heard_too = frozenset(also)
        self._ledger = ledger
        self._clock = clock
        self._seen: dict[int, EventId] = {}
        self._last: dict[str, EventId] = {}  # by channel
        self._newest: EventId = (0, 0)
        self._gaps: list[EventId] = []  # the id that the user had when told of each gap
        self._connections = 0

    def opened(self) -> None:
        self._connections += 1
        if self._connections > 1:
            self._ledger.now.reconnects += 1

    @property
    def connected(self) -> bool:
        return self._connections > 0

    def refused(self, status: int, why: str) -> None:
        self._ledger.now.refused += 1
        self._ledger.note(f"a listener was refused with {status}: {why}")

    def heard(self, message: Message) -> None:
        chapter = self._ledger.now
        if message.event == "gap":
            chapter.gaps += 1
            self._gaps.append(event_id(json.loads(message.data).get("requested") or "0-0"))
            self._last.clear()  # a new life of the data may have lower ids
            self._ledger.note(f"{self.user} was told a gap: {message.data}")
            return
        found = self._ledger.find(message.data)
        if found is None or found[1].channel not in self.channels | self._heard_too:
            chapter.foreign += 1
            self._ledger.note(f"{self.user} heard what is not theirs: {message.data[:80]!r}")
            return
        number, entry = found
        identity = event_id(message.id)
        if number in self._seen and self._seen[number] != identity and self.was_told(self._seen[number]):
            self._seen[number] = identity
            chapter.gone += 1  # Redis announced it and lost it, and then it was published again
            return
        if number in self._seen:
            chapter.repeated += 1
            self._ledger.note(f"{self.user} heard {message.data} again in {chapter.name}")
            return
        self._seen[number] = identity
        self._check_order(entry.channel, identity)
        if entry.channel not in self.channels:
            return  # who begins at the earliest event hears what is old by then
        lag = 0.0 if entry.id is None else self._clock() - entry.acked_at  # 0: it was quicker than the ack
        chapter.lags_ms.append(lag * 1000)

    def _check_order(self, channel: str, identity: EventId) -> None:
        """Check that ids rise on a channel, over all connections. An event of another channel may come late, once
        (docs/architecture.md)."""
        if identity <= self._last.get(channel, (0, 0)):
            self._ledger.now.disorder += 1
            self._ledger.note(f"{self.user} heard {channel} out of order in {self._ledger.now.name}")
        self._last[channel] = identity
        if identity < self._newest:
            self._ledger.now.crossed += 1
        self._newest = max(self._newest, identity)

    def was_told(self, identity: EventId | None) -> bool:
        """Whether the user was told that events are gone after an id that lies before this one."""
        return identity is not None and any(gap < identity for gap in self._gaps)

    def missing(self, promised: dict[str, list[int]]) -> list[int]:
        return [number for channel in self.channels for number in promised.get(channel, ()) if number not in self._seen]

    def check_ids(self) -> None:
        """Check that each event came with the id that its publisher was told."""
        for number, identity in self._seen.items():
            told = self._ledger.id_of(number)
            if told not in (None, identity):
                self._ledger.chapter_of(number).disorder += 1
                self._ledger.note(f"{self.user} heard {self._ledger.data(number)} under another id than was acked")


def missing(witnesses: Sequence[Witness], ledger: Ledger) -> int:
    """The number of deliveries that are still to come."""
    promised = ledger.promised()
    return sum(len(witness.missing(promised)) for witness in witnesses)


def close(witnesses: Sequence[Witness], ledger: Ledger, gone: Collection[int] = ()) -> None:
    """Count as lost what is missing once nothing more will come, unless it is `gone` from the data and its user was
    told so."""
    promised = ledger.promised()
    for witness in witnesses:
        witness.check_ids()
        for number in witness.missing(promised):
            if number in gone and witness.was_told(ledger.id_of(number)):
                continue
            ledger.chapter_of(number).lost += 1
            ledger.note(f"{witness.user} never heard {ledger.data(number)}, acked in {ledger.chapter_of(number).name}")
