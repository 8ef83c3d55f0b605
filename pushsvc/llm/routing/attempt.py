"""One question to several models' servers: the next one is asked as long as no token has come, and never after."""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import gevent
import orjson

from pushsvc.events import sse
from pushsvc.llm.models.base import Call, Fault, ResponseHandler
from pushsvc.llm.routing.place import Place

logger = logging.getLogger(__name__)

OF_QUESTION: Final = frozenset({403, 404})  # statuses of which another may differ, but the same will not
RETRIED: Final = OF_QUESTION | {401, 408, 425, 429, 500, 502, 503, 504, 529}  # all of which another may differ
LONGEST_WAIT: Final = 10.0  # seconds for a Retry-After, where no other server has the model
MOST_TRIES: Final = 10
MOST_HELD: Final = 65536  # bytes before the first token
_TOKEN: Final = re.compile(rb'"(?:content|refusal|reasoning\w*|thinking|arguments|text|name|delta)"\s*:\s*"[^"]')
_JSON: Final = "application/json"


class Attempt:
    """Asks one server after the other, and is the Call of the question; see Call and ResponseHandler."""

    def __init__(
        self, places: Sequence[Place], body: bytes, handler: ResponseHandler, headers: Mapping[str, str], *, tells: bool
    ) -> None:
        """`tells`: whether a place in a queue may be told in the answer, because that is a stream."""
        self.user: str = getattr(handler, "user", "")
        self._places = places
        self._body = body
        self._handler: ResponseHandler | None = handler
        self._headers = headers
        self._tells = tells
        self._tried: set[Place] = set()
        self._refused: set[Place] = set()  # those of them that are not asked again
        self._tries = 0
        self._place: Place | None = None  # that is asked, or waited for
        self._asked = False
        self._call: Call | None = None
        self._timer: gevent.Greenlet | None = None
        self._refusal: tuple[int, dict[str, str], list[bytes]] | None = None
        self._held: list[bytes] = []  # before the first token
        self._passes = False  # a token came, or what comes is the answer
        self._number = 0  # of its place in the queue, as it was told last

    def start(self) -> Attempt:
        """Ask the first server."""
        self._timer = gevent.spawn(self._choose)  # a Call is there before its handler is called
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
        self._later(None)
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

    def _later(self, what: Callable[[], None] | None, seconds: float = 0.0) -> None:
        """Have something called later, in place of what was to be called. None: nothing."""
        timer, self._timer = self._timer, None
        if timer is not None and timer is not gevent.getcurrent():
            timer.kill(block=False)
        if what is not None:
            self._timer = gevent.spawn_later(seconds, what)

    # Which server

    def _choose(self) -> None:
        self._timer = None
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
            self._later(self._choose, max(0.05, seconds))
        elif self._refusal is not None:
            self._give(*self._refusal)
        else:
            self._say_fault(Fault("upstream_unreachable", "No server that has this model answers now."))

    def _wait_for(self, place: Place) -> None:
        self._place = place
        if not place.wait(self):
            self._place = None
            error = {"message": "The model's queue is full; try again later.", "type": "rate_limit_error"}
            body = orjson.dumps({"error": error | {"code": "queue_full"}})
            self._give(429, {"content-type": _JSON, "retry-after": "5"}, [body])

    def told(self, number: int) -> None:
        """Tell the place in the queue, as a chunk without choices; see Waiting."""
        if number == self._number or self._handler is None or not self._tells:
            return
        if not self._number:
            self._handler.began(200, {"content-type": "text/event-stream"})
        self._number = number
        chunk = {"id": "", "object": "chat.completion.chunk", "created": 0, "model": "", "choices": []}
        self._handler.heard(sse.data_frame(orjson.dumps(chunk | {"queue": {"place": number}})))

    def choose_again(self) -> None:
        """See Waiting."""
        self._place = None
        self._later(self._choose)

    def run(self, place: Place) -> None:
        """Ask a server; see Waiting."""
        self._place, self._asked = place, True
        self._tried.add(place)
        self._tries += 1
        self._refusal, self._held = None, []
        place.begin(self)
        try:
            self._call = place.model.ask(self._body, self, self._headers)
        except Exception:
            logger.exception("the model's server cannot be asked because of an error of the service")
            fault = Fault("internal_error", "The service made an error; it was logged.")
            self._later(lambda: self.failed(fault))

    # What it answers

    def began(self, status: int, headers: dict[str, str]) -> None:
        """See ResponseHandler."""
        if status in RETRIED:
            self._refusal = (status, headers, [])
            return
        self._passes = status >= 300  # a refusal of the question itself
        if self._handler is not None:
            self._handler.began(status, headers)

    def heard(self, body: bytes) -> None:
        """See ResponseHandler."""
        if self._refusal is not None:
            self._refusal[2].append(body)
            return
        if not self._passes:
            if not self._held and body.lstrip().startswith(b":") and b"data" not in body:
                self._say(body)  # a comment is a sign of life
                return
            self._held.append(body)
            held = b"".join(self._held)
            if len(held) < MOST_HELD and _TOKEN.search(held) is None:
                return
            body = self._begin_to_pass()
        self._say(body)

    def _say(self, body: bytes) -> None:
        if self._handler is not None and body:
            self._handler.heard(body)

    def _begin_to_pass(self) -> bytes:
        """Note that this server has answered, and give what is held."""
        held, self._held, self._passes = b"".join(self._held), [], True
        if self._place is not None:
            self._place.succeeded()
        return held

    def complete(self) -> None:
        """See ResponseHandler."""
        if self._refusal is not None:
            self._fail()
            return
        held = b"" if self._passes else b"".join(self._held)
        if held and b'"error"' in held and len(self._tried) < len(self._places):
            self._fail()
            return
        handler = self._handler
        self._say(self._begin_to_pass() if not self._passes else b"")
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
            place.failed(None if refusal is None else _retry_after(refusal[1]))
        self._call = None
        self._leave()
        self._later(self._choose if choose else None)

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


def _retry_after(headers: Mapping[str, str]) -> float | None:
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        said = headers.get(name, "")
        if said.isdecimal() and len(said) < 9:
            return int(said) / unit
    return None
