"""The events that were published, and what the service promised about it."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field

EventId = tuple[int, int]


def event_id(text: str) -> EventId:
    ms, _, number = text.partition("~")[0].partition("-")  # after ~ stands the proof of a ticket's stream
    return int(ms), int(number)


@dataclass(slots=True)
class Chapter:
    """The happenings during one step of the schedule, and after it until the next."""

    name: str
    acked: int = 0
    unanswered: int = 0  # publishes that were refused, or had no answer, and are repeated
    abandoned: int = 0  # events whose publisher gave up
    lost: int = 0
    gone: int = 0  # acknowledged or heard events that the data has no more, and whose readers are told so
    repeated: int = 0
    disorder: int = 0
    foreign: int = 0
    gaps: int = 0
    refused: int = 0  # times that a browser's EventSource would have given up
    reconnects: int = 0
    crossed: int = 0  # events that came late, behind a later one of another channel: no fault
    red_seconds: float | None = None  # from the beginning of the fault until /readyz was red; None: it never was
    green_seconds: float | None = None  # from the end of the fault until it was green for good
    lags_ms: array[float] = field(default_factory=lambda: array("f"))  # from ack to arrival

    @property
    def wrong(self) -> int:
        return self.lost + self.repeated + self.disorder + self.foreign + self.gaps


@dataclass(slots=True)
class Entry:
    """One event. `id` is None until it is acknowledged."""

    channel: str
    id: EventId | None = None
    acked_at: float = 0.0  # of the loop's clock
    chapter: Chapter | None = None


class Ledger:
    """Numbers every event; the number travels in its data, as `<channel> <number>`, and makes its key."""

    def __init__(self) -> None:
        self.chapters = [Chapter("before")]
        self.notes: Counter[str] = Counter()
        self.acked = 0
        self._entries: list[Entry] = []

    @property
    def now(self) -> Chapter:
        return self.chapters[-1]

    def turn(self, name: str) -> Chapter:
        self.chapters.append(Chapter(name))
        return self.now

    def note(self, what: str) -> None:
        """Note something for people to read, below the table."""
        self.notes[what] += 1

    def begin(self, channel: str) -> int:
        """Begin a new event, and give its number."""
        self._entries.append(Entry(channel))
        return len(self._entries) - 1

    def data(self, number: int) -> str:
        return f"{self._entries[number].channel} {number}"

    def find(self, data: str) -> tuple[int, Entry] | None:
        """The event that carries this data; None if none does."""
        channel, _, number = data.partition(" ")
        if not number.isdigit() or int(number) >= len(self._entries):
            return None
        entry = self._entries[int(number)]
        return (int(number), entry) if entry.channel == channel else None

    def ack(self, number: int, identity: EventId, now: float) -> None:
        entry = self._entries[number]
        entry.id, entry.acked_at, entry.chapter = identity, now, self.now
        self.now.acked += 1
        self.acked += 1

    def promised(self) -> dict[str, list[int]]:
        """The numbers of all acked events, by channel."""
        found: dict[str, list[int]] = {}
        for number, entry in enumerate(self._entries):
            if entry.id is not None:
                found.setdefault(entry.channel, []).append(number)
        return found

    def id_of(self, number: int) -> EventId | None:
        return self._entries[number].id

    def acked_at(self, number: int) -> float:
        return self._entries[number].acked_at

    def chapter_of(self, number: int) -> Chapter:
        return self._entries[number].chapter or self.chapters[0]
