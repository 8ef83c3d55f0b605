"""The model that several servers make together: each question goes to one that has the model it names."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence

import gevent
import orjson

from pushsvc.events import exact_json
from pushsvc.llm.formats.joining import Json
from pushsvc.llm.models.base import Call, Passed, ResponseHandler
from pushsvc.llm.routing.attempt import Attempt
from pushsvc.llm.routing.listing import Listing, Lists
from pushsvc.llm.routing.place import Place


class Router:
    """Divides questions between servers; see Model."""

    def __init__(self, places: Sequence[Place], first_token: float) -> None:
        """`first_token`: seconds after which the first token of a stream is waited for no longer."""
        self._places = places
        self._first_token = first_token
        self._lists = Lists(places)

    def ask(self, body: bytes, handler: ResponseHandler, headers: Mapping[str, str]) -> Call:
        """See Model."""
        asked = _read(body)
        places = self._of(asked)
        if not places:
            return Document(_unknown(asked), handler, 404)
        # An answer that the client wants whole may be asked as a stream, whose chunks are compared with others.
        tells = bool(asked.get("stream")) and getattr(handler, "wants_stream", True)
        silence = self._first_token if asked.get("stream") else None
        return Attempt(places, body, handler, headers, tells=tells, silence=silence).start()

    def pass_on(self, request: Passed, handler: ResponseHandler) -> Call:
        """Send a request to one of the servers that have its model, or to any if it names none; see Model."""
        asked = _read(request.body)
        places = self._of(asked) if asked.get("model") else self._places
        if not places:
            return Document(_unknown(asked), handler, 404)
        now = time.monotonic()
        ready = [each for each in places if not each.is_open and not each.rests(now)] or places
        place = random.choices(ready, [each.weight for each in ready])[0]
        return place.model.pass_on(request, handler)

    def list(self, name: str | None, handler: ResponseHandler) -> Call:
        """Give the models of all servers, or one of them; see Model."""
        return Listing(self._lists, name, handler).start()

    def _of(self, asked: Json) -> Sequence[Place]:
        name = asked.get("model")
        return [each for each in self._places if each.takes(name if isinstance(name, str) else "")]

    def problems(self) -> Sequence[str]:
        """The servers that are left alone just now, as sentences."""
        return [f"The model's server {each.name} fails, and is left alone." for each in self._places if each.is_open]


class Document:
    """A call that is answered with a document of ours; see Call."""

    def __init__(self, document: Json, handler: ResponseHandler, status: int) -> None:
        self._greenlet = gevent.spawn(self._say, document, handler, status)

    @staticmethod
    def _say(document: Json, handler: ResponseHandler, status: int) -> None:
        handler.began(status, {"content-type": "application/json"})
        handler.heard(orjson.dumps(document))
        handler.complete()

    def pause(self) -> None:
        """See Call."""

    def resume(self) -> None:
        """See Call."""

    def release(self) -> None:
        """See Call."""
        self.close()

    def close(self) -> None:
        """See Call."""
        if gevent.getcurrent() is not self._greenlet:
            self._greenlet.kill(block=False)


def _read(body: bytes) -> Json:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            found = exact_json.loads_leniently(body)
        except ValueError:  # it goes through as it is
            return {}
    return found if isinstance(found, dict) else {}


def _unknown(asked: Json) -> Json:
    error = {"message": f"No server here has the model {str(asked.get('model'))[:80]!r}.", "param": "model"}
    return {"error": error | {"type": "invalid_request_error", "code": "model_not_found"}}
