"""The beginning of streams. Without a cursor of the client's, it is chosen from what Redis tells when the stream
joins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pushsvc.events.event import EventId
from pushsvc.storage.clock import Clock, Standing


class Start(NamedTuple):
    """The start of a stream. `after`: the cursor after which events are replayed. `new_channels`: channels that the
    reader has not listened to before. `lost`: the reader may have lost events that cannot be named, and is to be told.
    `ours`: the cursor is of this data, or there is none. `anew`: neither the client has a cursor nor the user a
    position, so only the losses known when the stream joins tell whether there was one."""

    after: EventId
    new_channels: Sequence[str] = ()
    lost: bool = False
    ours: bool = True
    anew: bool = False


class Origin:
    """The start of a stream, chosen when the first clock comes after its channels are confirmed. `start`: None until
    then."""

    __slots__ = ("_begin", "_choose", "start", "user")

    def __init__(self, user: str, choose: Callable[[Clock, Standing], Start]) -> None:
        """`user`: whose standing matters. `choose`: is given the clock up to which the stream must read, and the
        standing at that moment. It must not raise, or wait."""
        self.user = user
        self.start: Start | None = None
        self._choose = choose
        self._begin: Callable[[Start, bool], None] | None = None

    def bind(self, begin: Callable[[Start, bool], None]) -> None:
        """Set the function of the subscriber that takes the start, see `Subscriber.begin`."""
        self._begin = begin

    def choose(self, clock: Clock, standing: Standing, *, unclear: bool) -> None:
        """Choose the start, and have the subscriber begin there. `unclear`: see Losses."""
        self.start = self._choose(clock, standing)
        if self._begin is not None:
            self._begin(self.start, unclear)
