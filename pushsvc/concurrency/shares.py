"""The choice of who is served next, where many wait: each owner (a user, or a token) in turn, however much one of them
asks for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final, Generic, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import gevent
import gevent.event

from pushsvc.concurrency.loops import SHORT_TURN_SECONDS, TimeSlice, give_turn

OWNER: Final[ContextVar[str]] = ContextVar("owner", default="")  # whom this greenlet works for; '': the service itself

_Item = TypeVar("_Item")
_Given = ParamSpec("_Given")


def spawn_owned(work: Callable[_Given, object], *given: _Given.args, **named: _Given.kwargs) -> gevent.Greenlet:
    """Start a greenlet that works for the same owner as this one: greenlets inherit no context."""

    def owned(owner: str) -> object:
        OWNER.set(owner)
        return work(*given, **named)

    return gevent.spawn(owned, OWNER.get())


class Waiting(Generic[_Item]):
    """A queue from which each owner's oldest item comes in turn."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[_Item]] = {}  # by owner; the first is the next
        self._held: dict[str, deque[_Item]] = {}  # of owners who had enough for now

    def __bool__(self) -> bool:
        return bool(self._queues)

    def put(self, owner: str, item: _Item) -> None:
        """Add an item, behind the owner's others."""
        queue = self._queues.get(owner)
        if queue is None:
            queue = self._held.get(owner)
        if queue is None:
            self._queues[owner] = deque((item,))
        else:
            queue.append(item)

    def take(self) -> _Item:
        """Take the next owner's oldest item; what else that owner has waits for all other owners."""
        owner, queue = next(iter(self._queues.items()))
        del self._queues[owner]
        item = queue.popleft()
        if queue:
            self._queues[owner] = queue
        return item

    def hold(self, owner: str, *first: _Item) -> None:
        """Give nothing of this owner until `release`. `first`: what goes before the owner's others."""
        queue = self._queues.pop(owner, None) or deque()
        queue.extendleft(first)
        if queue:
            self._held[owner] = queue

    def release(self) -> None:
        """Give again what was held, after that of all others."""
        self._queues |= self._held
        self._held.clear()


class _Line:
    """Greenlets that wait for a piece of time: one goes on in each turn of the event loop."""

    def __init__(self) -> None:
        self._waiting: Waiting[gevent.event.Event] = Waiting()
        self._giver: gevent.Greenlet | None = None

    def wait(self) -> None:
        came = gevent.event.Event()
        self._waiting.put(OWNER.get(), came)
        if self._giver is None or self._giver.dead:
            self._giver = gevent.spawn(self._give)
        came.wait()

    def _give(self) -> None:
        while self._waiting:
            give_turn()  # whatever has arrived is handled between two pieces
            self._waiting.take().set()


_lines: Final[WeakKeyDictionary[gevent.hub.Hub, _Line]] = WeakKeyDictionary()  # a thread has a hub of its own


class SharedSlice(TimeSlice):
    """A TimeSlice for work that requests bring: of all such work in a worker one piece runs at a time, the owners take
    turns, and what arrives in between is handled first."""

    def __init__(self, seconds: float = SHORT_TURN_SECONDS) -> None:
        super().__init__(seconds)

    def begin(self) -> None:
        """Wait for a piece of time before work that is long and cannot be cut."""
        self._give()
        self.restart()

    def _give(self) -> None:
        hub = gevent.get_hub()
        line = _lines.get(hub)
        if line is None:
            line = _lines[hub] = _Line()
        line.wait()
