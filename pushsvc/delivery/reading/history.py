"""Pages for GET /history: the kept events of a channel in pages, forward or backward, or new ones as they come (long
poll). For GET /unread: the number of unread events."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from pushsvc.delivery.subscriber import Subscriber
from pushsvc.delivery.transports.wakeup import Wakeup
from pushsvc.events import sse
from pushsvc.events.event import BEGINNING, EventId
from pushsvc.events.names import ALL, user_channel
from pushsvc.storage.channel_ids import ChannelIds
from pushsvc.storage.clock import Clock
from pushsvc.storage.entries import Entry, Slice
from pushsvc.storage.gaps import losses, newest_loss, resume
from pushsvc.storage.log import EventLog

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000
MAX_WAIT: Final = 60  # seconds; proxies cut longer silences
MOST_BYTES: Final = 2**20  # of events in an answer; the event that reaches it is the last
_FIRST: Final = 4  # events read at first; then, as far as their size allows, four times as many each time

Answer = dict[str, Any]


def newest_before(log: EventLog, channel: str, before: EventId, limit: int) -> Answer:
    """The last `limit` events before an id, in rising order. `next` is the `before` for the next older page. Raises
    Unavailable."""
    clock = log.clock()
    piece, limit = _read(lambda at, count: log.read_back(channel, at, clock, count), before, limit)
    entries = piece.entries
    shown = entries[:limit][::-1]
    return _answer(shown, clock, following=shown[0].id if len(entries) > limit else None)


def page_after(
    log: EventLog,
    channel: str,
    after: EventId | None,
    limit: int,
    before: EventId | None = None,
    *,
    anew: bool = False,
) -> Answer:
    """The first `limit` events after an id (None: from the oldest kept), up to `before`. `next` is the `after` for the
    next page. Raises Unavailable.

    If events after the id are gone, or may be (`anew`, see Standing.is_lost), the member `gap` says so, as the event
    `gap` does on a stream. If there is no event after the loss yet, `next` is a place after the loss: otherwise a
    client that waits for the next event would at once be told of the same loss again.
    """
    clock = log.clock()
    at = resume(after or BEGINNING, clock)
    piece, limit = _read(lambda at, count: log.read([channel], at, clock, count)[0], at.start, limit)
    entries = [entry for entry in piece.entries if before is None or entry.id < before]
    more = len(entries) > limit
    answer = _answer(entries[:limit], clock, following=entries[limit - 1].id if more else None)
    whole = len(piece.entries) <= limit
    lost = None if after is None else newest_loss(losses(None if at.is_reset else after, piece, whole=whole))
    reset = anew or at.is_reset
    if at.loss is not None and after not in (None, BEGINNING):  # a loss within a later page is reported there
        reset = reset or not more or at.loss[0] < entries[limit].id
    if reset or lost is not None:
        oldest = piece.entries[0].id if reset and piece.entries else lost.oldest if lost else None
        answer["gap"] = gap(after, oldest, "reset" if reset or lost is None else lost.reason(clock))
        if after is not None and before is None and not answer["events"] and answer["next"] is None:
            answer["next"] = str(max([clock.last, *(entry.id for entry in entries)]))
    return answer


def _read(read: Callable[[EventId, int], Slice], start: EventId, limit: int) -> tuple[Slice, int]:
    """Read up to `limit` entries and one more, or fewer if they are large, a few at a time. Gives also how many of them
    are to be shown: all but the last, if there are more."""
    entries: list[Entry] = []
    size, at, count = 0, start, _FIRST
    while True:
        count = min(count, limit + 1 - len(entries))
        piece = read(at, count)
        entries += piece.entries
        size += sum(len(entry.wire) for entry in piece.entries)
        if piece.whole:
            return Slice(entries, piece.tail), limit
        if len(entries) > limit or size >= MOST_BYTES:
            return Slice(entries, piece.tail), len(entries) - 1
        at = entries[-1].id
        count = max(1, min(4 * count, (MOST_BYTES - size) * len(entries) // size))


def gap(requested: EventId | None, oldest: EventId | None, reason: str) -> Answer:
    """The member `gap` of an answer, with the same fields as the event `gap`."""
    return {
        "requested": None if requested is None else str(requested),
        "oldest": None if oldest is None else str(oldest),
        "reason": reason,
    }


class Unread:
    """Counts what users have not read."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._ids = ChannelIds(log)

    def answer(self, user: str) -> Answer:
        """The number of events that the user has not read, and the user's position. `gap`: some of these events are
        gone. Raises Unavailable."""
        channels = [user_channel(user), ALL]
        standing, clock = self._log.standing(user), self._log.clock()
        position = standing.position
        answer: Answer = {
            "unread": sum(self._ids.count(channel, position, clock) for channel in channels),
            "id": None if position is None else str(position),
        }
        at = None if position is None else resume(position, clock)
        if standing.is_lost or (at is not None and (at.is_reset or at.loss is not None)):
            pieces = self._log.read(channels, position or BEGINNING, clock, 1)
            kept = [entry.id for piece in pieces for entry in piece.entries]
            answer["gap"] = gap(position, min(kept, default=None), "reset")
        return answer


def _answer(entries: list[Entry], clock: Clock, following: EventId | None) -> Answer:
    events = []
    for entry in entries:
        if entry.alive(clock.now):
            name, data = sse.read_event(entry.wire)
            events.append({"id": str(entry.id), "event": name, "data": data})
    return {"events": events, "next": None if following is None else str(following)}


def says_something(answer: Answer) -> bool:
    """Whether a long poll ends with this answer. An empty page also ends it if all of its events are past their ttl and
    more follow, or if it tells of a loss to a client that sent an id."""
    told = answer.get("gap", {}).get("requested") is not None
    return bool(answer["events"] or answer["next"] or told)


def await_page_after(
    log: EventLog,
    channel: str,
    after: EventId | None,
    limit: int,
    wait: float,
    listener: Subscriber,
    wakeup: Wakeup,
    *,
    anew: bool = False,
) -> Answer:
    """The page after an id, as soon as it says something, or after `wait` seconds. `listener` has joined the Hub, with
    `wakeup` as its transport. Raises Unavailable."""
    deadline = time.monotonic() + wait
    while True:
        wakeup.rung.clear()
        listener.go_live()  # before the log is read, so that no event after the reading is missed
        answer = page_after(log, channel, after, limit, anew=anew)
        if says_something(answer) or listener.reason is not None:
            return answer
        if not wakeup.rung.wait(max(0.0, deadline - time.monotonic())):
            return answer
