"""The list of the models of several servers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final

import gevent
import gevent.event
import gevent.pool
import orjson

from pushsvc.llm.formats.joining import Json
from pushsvc.llm.models.base import Fault, ResponseHandler
from pushsvc.llm.models.body import Body, Unreadable
from pushsvc.llm.routing.place import Place

WAIT_SECONDS: Final = 5.0
KEPT_SECONDS: Final = 5.0
MOST_BYTES: Final = 4 * 2**20
_WILD: Final = "*?["


class Lists:
    """The models of all servers, for which these are asked again only after a while."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places
        self._found: dict[str, Json] = {}
        self._keeps_until = 0.0  # monotonic time
        self._gathering: gevent.Greenlet | None = None

    def get(self) -> Mapping[str, Json]:
        """The models by name."""
        if time.monotonic() >= self._keeps_until:
            if self._gathering is None:
                self._gathering = gevent.spawn(self._gather)
            self._gathering.get()
        return self._found

    def _gather(self) -> None:
        found: dict[str, Json] = {}
        try:
            pool = gevent.pool.Pool(len(self._places))
            for place, models in pool.imap(lambda place: (place, _models(place)), self._places):
                for model in models:
                    if place.takes(model["id"]):
                        found.setdefault(model["id"], model)
            self._found, self._keeps_until = found, time.monotonic() + KEPT_SECONDS
        finally:
            self._gathering = None


class Listing:
    """Gives the list of models, or one of them; see Call."""

    def __init__(self, lists: Lists, name: str | None, handler: ResponseHandler) -> None:
        self._lists = lists
        self._name = name
        self._handler: ResponseHandler | None = handler
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> Listing:
        """Begin to ask."""
        self._greenlet = gevent.spawn(self._give)
        return self

    def _give(self) -> None:
        found = self._lists.get()
        if self._name is None:
            self._say(200, {"object": "list", "data": list(found.values())})
        elif self._name in found:
            self._say(200, found[self._name])
        else:
            error = {"message": f"There is no model {self._name[:80]!r}.", "type": "invalid_request_error"}
            self._say(404, {"error": error | {"param": "model", "code": "model_not_found"}})

    def _say(self, status: int, document: Json) -> None:
        handler = self._handler
        if handler is not None:
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
        self._handler = None
        if self._greenlet is not None and self._greenlet is not gevent.getcurrent():
            self._greenlet.kill(block=False)


def _models(place: Place) -> list[Json]:
    """The models of one server: those that its settings name, and, where they name some by pattern, its own list."""
    named = [name for name in place.models if not any(each in name for each in _WILD)]
    found: list[Json] = [{"id": name, "object": "model", "created": 0, "owned_by": place.name} for name in named]
    return found if len(named) == len(place.models) else [*_listed(place), *found]


def _listed(place: Place) -> list[Json]:
    taken = _Taken()
    call = place.model.list(None, taken)
    try:
        taken.over.wait(WAIT_SECONDS)
    finally:
        call.close()
    try:
        data = orjson.loads(taken.document)["data"]
        return [each for each in data if isinstance(each, dict) and isinstance(each.get("id"), str)]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return []


class _Taken:
    """Takes a document; see ResponseHandler."""

    def __init__(self) -> None:
        self.over = gevent.event.Event()
        self.document = b""
        self._body: Body | None = None

    def began(self, status: int, headers: dict[str, str]) -> None:
        if status == 200:
            try:
                self._body = Body(headers, MOST_BYTES, MOST_BYTES, refusal=True)
            except Unreadable:
                self._body = None

    def heard(self, body: bytes) -> None:
        if self._body is not None:
            try:
                self._body.feed(body)
            except Unreadable:
                self._body = None

    def complete(self) -> None:
        self.document = (self._body.document if self._body is not None else None) or b""
        self.over.set()

    def failed(self, fault: Fault) -> None:  # noqa: ARG002  # the others' lists are given
        self.over.set()
