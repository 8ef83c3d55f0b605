"""The words of a replay about losses, on logs that are made up here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pushsvc.delivery.reading.replay import Page, Replay
from pushsvc.events import sse
from pushsvc.events.event import BEGINNING, EventId
from pushsvc.storage.clock import Clock
from pushsvc.storage.entries import Entry, Slice
from pushsvc.storage.redis.epochs import EpochHistory


def at(ms: int) -> EventId:
    return EventId(ms, 0)


def event(ms: int, prev: int) -> Entry:
    return Entry(at(ms), at(prev) if prev else BEGINNING, sse.with_id(b"%d-0" % ms, b"data: %d\n\n" % ms), None)


class Log:
    """The events that each channel keeps."""

    def __init__(self, epochs: bytes, last: int, **kept: list[Entry]) -> None:
        self._clock = Clock(EpochHistory(epochs), at(last), last, 0)
        self._kept = kept

    def clock(self) -> Clock:
        return self._clock

    def read(self, channels: Sequence[str], after: EventId, clock: Clock, count: int) -> list[Slice]:
        found = [[each for each in self._kept[channel] if each.id > after] for channel in channels]
        tails = [self._kept[channel][-1].id for channel in channels]
        return [Slice(each[:count], tail, whole=len(each) < count) for each, tail in zip(found, tails, strict=True)]


def ids_rise(pages: list[Page]) -> None:
    """Check that a reader who is cut anywhere resumes before all that is still to come."""
    wire = b"".join(page.wire for page in pages).decode()
    ids = [EventId.parse(line.removeprefix("id: ")) for line in wire.splitlines() if line.startswith("id: ")]
    assert ids == sorted(ids)
    cursors = [page.cursor for page in pages if page.cursor is not None]
    assert cursors == sorted(cursors)


def test_a_reader_of_whom_nothing_is_known_is_told_so_where_a_loss_was_noted_before() -> None:
    log = Log(b"1-0 7-0 31-0!", 60, a=[event(5, 0), event(40, 5)])
    pages = list(Replay(log, ["a"], BEGINNING, ["a"], lost=True).pages())
    assert pages[0].wire == sse.gap(None, at(5), "reset", at(1))
    assert [page.wire.count(b"data: ") for page in pages] == [1, 2], "and it is said once"
    ids_rise(pages)


def test_a_gap_does_not_pass_what_other_channels_have_after_a_noted_loss() -> None:
    log = Log(b"1-0 7-0 31-0!", 60, a=[event(55, 50)], b=[event(40, 3)])
    pages = list(Replay(log, ["a", "b"], at(5)).pages())
    assert [b"event: gap" in page.wire for page in pages] == [True, True, False]
    assert pages[-1].wire == b"id: 40-0\ndata: 40\n\nid: 55-0\ndata: 55\n\n"
    ids_rise(pages)


def test_a_gap_does_not_pass_what_is_announced_after_the_clock() -> None:
    """The log is trimmed faster than it is read. The other channel's events are held meanwhile, and come afterwards."""
    log = Log(b"1-0", 60, a=[event(90, 80)], b=[event(70, 3)])
    replay = Replay(log, ["a", "b"], at(5))
    [gap] = replay.pages()
    assert gap == Page(sse.gap(at(5), at(90), "trimmed", None), None)
    assert replay.through == at(60)


def test_a_read_of_large_events_is_small() -> None:
    """It is small even for many channels. All events come in order, and each is read once."""

    class Counting(Log):
        asked: ClassVar[list[int]] = []
        entries = 0

        def read(self, channels: Sequence[str], after: EventId, clock: Clock, count: int) -> list[Slice]:
            found = super().read(channels, after, clock, count)
            self.asked.append(sum(len(entry.wire) for piece in found for entry in piece.entries))
            self.entries += sum(len(piece.entries) for piece in found)
            return found

    def large(ms: int, prev: int) -> Entry:
        return Entry(
            at(ms), at(prev) if prev else BEGINNING, sse.with_id(b"%d-0" % ms, b"data: %065000d\n\n" % ms), None
        )

    names = [f"channel{number}" for number in range(40)]
    kept = {
        name: [large(1 + number + 40 * turn, 1 + number + 40 * (turn - 1) if turn else 0) for turn in range(10)]
        for number, name in enumerate(names)
    }
    log = Counting(b"1-0", 400, **kept)
    pages = list(Replay(log, names, BEGINNING, names).pages())
    ids_rise(pages)
    assert sum(page.wire.count(b"data: ") for page in pages) == 400
    assert max(log.asked) < 4 * 2**20
    assert log.entries == 400
