"""The requests that wait for a connection to Redis, and which of them leave together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from gevent.event import AsyncResult

from pushsvc.concurrency.shares import Waiting

MOST_COMMANDS: Final = 1000  # in one round trip, but for those of the service itself
OWN_COMMANDS: Final = 128  # of one owner in one round trip, which then keeps others for about a millisecond
OWN_BYTES: Final = 2**18  # the same in bytes; a single command may be larger


class Request:
    """Commands of one caller, who waits for their answers. A long request is sent in parts."""

    __slots__ = ("_pieces", "_sent", "_weights", "_whole", "answers", "asked", "owner", "place")

    def __init__(
        self, pieces: Sequence[bytes], owner: str = "", weights: Sequence[int] = (), *, whole: bool = True
    ) -> None:
        """`pieces`: the packed commands. `owner`: for whom they are; '': for the service itself, which has no limit.
        `weights`: as how many commands each counts; 1 if there are none. `whole`: they leave in one round trip, however
        many they are."""
        self._pieces = pieces
        self._weights = weights
        self._sent = 0
        self._whole = whole
        self.owner = owner
        self.asked = 0  # commands of the part that is on its way
        self.answers: list[Any] = []  # to the parts before
        self.place: AsyncResult[list[Any]] = AsyncResult()

    @property
    def left(self) -> int:
        """The number of commands that were not sent yet."""
        return len(self._pieces) - self._sent

    def next_part(self, most: int, most_bytes: int) -> tuple[bytes, int]:
        """Take commands of up to this weight, at least one: their bytes, joined, and their weight."""
        first = self._sent
        if self._whole:
            self._sent = len(self._pieces)
        else:
            size = weight = 0
            for piece in self._pieces[first : first + most]:
                size += len(piece)
                weight += self._weights[self._sent] if self._weights else 1
                if self._sent > first and (size > most_bytes or weight > most):
                    break
                self._sent += 1
        self.asked = self._sent - first
        weighed = sum(self._weights[first : self._sent]) if self._weights else self.asked
        return b"".join(self._pieces[first : self._sent]), weighed

    def answer(self, answers: list[Any], last: list[Any]) -> None:
        """Take the answers to the part that was sent; `last`: what is added to the request's answers."""
        self.answers = self.answers + answers if self.answers else answers
        self.asked = 0
        if not self.left:
            self.place.set(self.answers + last)

    def fail(self, error: Exception, not_sent: Exception) -> None:
        """The part on its way failed with an error. What an earlier part did stands; `not_sent`: what became of the
        parts after."""
        if self.answers:
            self.place.set([*self.answers, *[error] * self.asked, *[not_sent] * self.left])
        else:
            self.place.set_exception(error)


class Requests:
    """Requests in the order of the calls, those of each owner in turn with those of the others."""

    def __init__(self) -> None:
        self._waiting: Waiting[Request] = Waiting()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, request: Request) -> None:
        """Add a request, behind the owner's others."""
        self._waiting.put(request.owner, request)

    def take(self) -> tuple[list[Request], list[bytes]]:
        """Take what leaves together: requests, and the bytes of their next parts."""
        batch, packed, count = list[Request](), list[bytes](), 0
        spent: dict[str, list[int]] = {}  # commands and bytes, by owner
        while self._waiting and count < MOST_COMMANDS:
            request = self._waiting.take()
            if request.place.ready():
                continue  # an earlier part of it failed
            own = spent.setdefault(request.owner, [0, 0])
            piece, weight = request.next_part(OWN_COMMANDS - own[0], OWN_BYTES - own[1])
            own[0] += weight
            own[1] += len(piece)
            count += weight
            batch.append(request)
            packed.append(piece)
            if request.left:
                self._waiting.hold(request.owner, request)
            elif request.owner and (own[0] >= OWN_COMMANDS or own[1] >= OWN_BYTES):
                self._waiting.hold(request.owner)
        self._waiting.release()
        return batch, packed

    def clear(self) -> list[Request]:
        """Take all that wait."""
        found = list[Request]()
        while self._waiting:
            found.append(self._waiting.take())
        return [request for request in found if not request.place.ready()]
