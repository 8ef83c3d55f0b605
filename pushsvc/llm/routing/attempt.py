"""One question to several models' servers: the next one is asked as long as no token has come, and never after."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Mapping, Sequence
from typing import Final

from pushsvc.llm.models.base import Call, Fault, ResponseHandler
from pushsvc.llm.routing import queueing
from pushsvc.llm.routing.held import Held
from pushsvc.llm.routing.place import Place
from pushsvc.llm.routing.refusing import OF_QUESTION, RETRIED, retry_after
from pushsvc.llm.routing.timer import Timer

logger = logging.getLogger(__name__)

LONGEST_WAIT: Final = 10.0  # seconds for a Retry-After, where no other server has the model
MOST_TRIES: Final = 10
_PART: Final = 0.9  # of the time for the first token, in which all servers are tried


class Attempt:
    """Asks one server after the other, and is the Call of the question; see Call and ResponseHandler."""

    def __init__(
        self,
        places: Sequence[Place],
        body: bytes,
        handler: ResponseHandler,
        headers: Mapping[str, str],
        *,
        tells: bool,
        silence: float | None,
    ) -> None:
        """`tells`: whether a place in a queue may be told in the answer, because that is a stream; `silence`: seconds
        after which the handler waits no longer for a first token. None: it waits."""
        self.user: str = getattr(handler, "user", "")
        self._places = places
        self._body = body
        self._handler: ResponseHandler | None = handler
        self._headers = headers
        self._tells = tells
        self._silence = None if silence is None else _PART * silence
        self._said_at = time.monotonic()  # when the handler heard something last
        self._tried: set[Place] = set()
        self._refused: set[Place] = set()  # those of them that are not asked again
        self._tries = 0
        self._place: Place | None = None  # that is asked, or waited for
        self._asked = False
        self._call: Call | None = None
        self._timer = Timer()
        self._refusal: tuple[int, dict[str, str], list[bytes]] | None = None
        self._held = Held()
        self._passes = False  # a token came, or what comes is the answer
        self._number = 0  # of its place in the queue, as it was told last

    def start(self) -> Attempt:
        """Ask the first server."""
        self._timer.call(self._choose)  # a Call is there before its handler is called
        return self

    # The Call

    def pause(self) -> None:
        """See Call."""
        if self._call is not None:
            self._call.pause()

    def resume(self) -> None:
        """See Call."""
        if self._call is not None:
            self._call.resume()

    def release(self) -> None:
        """See Call."""
        self._hang_up(kindly=True)

    def close(self) -> None:
        """See Call."""
        self._hang_up(kindly=False)

    def _hang_up(self, *, kindly: bool) -> None:
        self._handler = None
        self._timer.stop()
        if self._place is not None and not self._asked:
            self._place.forget(self)
        call, self._call = self._call, None
        if call is not None:
            call.release() if kindly else call.close()
        self._leave()

    def _leave(self) -> None:
        place, self._place = self._place, None
        if place is not None and self._asked:
            self._asked = False
            place.end(self)

    # Which server

    def _choose(self) -> None:
        if self._handler is None:
            return
        now = time.monotonic()
        untried = [each for each in self._places if each not in self._tried]
        ready = [each for each in untried if not each.rests(now)]
        free = [each for each in ready if not each.is_full]
        if free and self._tries < MOST_TRIES:
            self.run(random.choices(free, [each.weight for each in free])[0])
        elif ready and self._tries < MOST_TRIES:
            self._wait_for(min(ready, key=lambda each: each.waiting))
        else:
            self._wait_or_give_up(now)

    def _wait_or_give_up(self, now: float) -> None:
        """Wait for a server that is to be left alone for a moment; else the last failure is the answer."""
        seconds = min((each.rests_until - now for each in self._places if each not in self._refused), default=0.0)
        if self._tries < MOST_TRIES and 0 < seconds <= LONGEST_WAIT:
            self._tried = set(self._refused)
            self._timer.call(self._choose, max(0.05, seconds))
        elif self._refusal is not None:
            self._give(*self._refusal)
        else:
            self._say_fault(Fault("upstream_unreachable", "No server that has this model answers now."))

    def _wait_for(self, place: Place) -> None:
        self._place = place
        if not place.wait(self):
            self._place = None
            self._give(*queueing.full())

    def told(self, number: int) -> None:
        """Tell the place in the queue, as a chunk without choices; see Waiting."""
        if number == self._number or self._handler is None or not self._tells:
            return
        if not self._number:
            self._handler.began(200, dict(queueing.HEAD))
        self._number, self._said_at = number, time.monotonic()
        self._handler.heard(queueing.place(number))

    def choose_again(self) -> None:
        """See Waiting."""
        self._place = None
        self._timer.call(self._choose)

    def run(self, place: Place) -> None:
        """Ask a server; see Waiting."""
        self._place, self._asked = place, True
        self._tried.add(place)
        self._tries += 1
        self._refusal, self._held = None, Held()
        place.begin(self)
        try:
            self._call = place.model.ask(self._body, self, self._headers)
            self._bound_silence()
        except Exception:
            logger.exception("the model's server cannot be asked because of an error of the service")
            fault = Fault("internal_error", "The service made an error; it was logged.")
            self._timer.call(lambda: self.failed(fault))

    def _bound_silence(self) -> None:
        """Bound the time until the server speaks: half of what is left if another may be asked, else all."""
        if self._silence is None or self._passes:
            self._timer.stop()
            return
        now = time.monotonic()
        others = any(each not in self._tried and not each.rests(now) for each in self._places)
        share = (self._silence - (now - self._said_at)) / (2 if others else 1)
        self._timer.call(self._on_silence, max(share, self._silence / len(self._places)))

    def _on_silence(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.close()
        self.failed(Fault("first_token_timeout", "The model did not begin to answer in time."))

    # What it answers

    def began(self, status: int, headers: dict[str, str]) -> None:
        """See ResponseHandler."""
        if status in RETRIED:
            self._refusal = (status, headers, [])
            return
        self._passes = status >= 300  # a refusal of the question itself
        self._on_sign()
        if self._handler is not None:
            self._handler.began(status, headers)

    def _on_sign(self) -> None:
        """Take note that the server lives."""
        self._said_at = time.monotonic()
        self._bound_silence()

    def heard(self, body: bytes) -> None:
        """See ResponseHandler."""
        if self._refusal is not None:
            self._refusal[2].append(body)
            return
        if not self._passes:
            if self._held.is_comment(body):
                self._on_sign()
                self._say(body)
                return
            if not self._held.add(body):
                self._bound_silence()
                return
            body = self._begin_to_pass()
        self._say(body)

    def _say(self, body: bytes) -> None:
        if self._handler is not None and body:
            self._handler.heard(body)

    def _begin_to_pass(self, *, failed: bool = False) -> bytes:
        """Note that this server has answered, if only with an error, and give what is held."""
        self._passes = True
        self._on_sign()
        if self._place is not None:
            self._place.failed() if failed else self._place.succeeded()
        return self._held.take()

    def complete(self) -> None:
        """See ResponseHandler."""
        if self._refusal is not None:
            self._fail()
            return
        failed = not self._passes and self._held.tells_error
        if failed and len(self._tried) < len(self._places):
            self._fail()
            return
        handler = self._handler
        self._say(self._begin_to_pass(failed=failed) if not self._passes else b"")
        self._call = None
        self._leave()
        if handler is not None and self._handler is handler:
            handler.complete()

    def failed(self, fault: Fault) -> None:
        """See ResponseHandler."""
        if not self._passes and self._handler is not None:
            last = self._tries >= MOST_TRIES or len(self._tried) == len(self._places)
            refusal = self._refusal
            self._fail(choose=not last)
            if last and refusal is not None:
                self._give(*refusal)
            elif last:
                self._say_fault(fault)
            return
        self._call = None
        self._leave()
        self._say_fault(fault)

    def _fail(self, *, choose: bool = True) -> None:
        place, refusal = self._place, self._refusal
        if place is not None and refusal is not None and refusal[0] in OF_QUESTION:
            self._refused.add(place)
            place.refused()
        elif place is not None:
            place.failed(None if refusal is None else retry_after(refusal[1]))
        self._call = None
        self._leave()
        self._timer.call(self._choose) if choose else self._timer.stop()

    def _say_fault(self, fault: Fault) -> None:
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.failed(fault)

    def _give(self, status: int, headers: dict[str, str], body: list[bytes]) -> None:
        """Give the refusal of the server that was asked last, or ours."""
        handler = self._handler
        if handler is None:
            return
        handler.began(status, headers)
        if self._handler is handler:
            handler.heard(b"".join(body))
        if self._handler is handler:
            handler.complete()
