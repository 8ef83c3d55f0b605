"""Models' servers whose calls a test answers itself, and questions to several of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import gevent

from pushsvc.llm.models.base import Fault, Passed, ResponseHandler
from pushsvc.llm.routing.place import Place
from pushsvc.llm.routing.router import Router

OK = {"content-type": "text/event-stream"}
TOKEN = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
ROLE = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
FAULT = Fault("upstream_closed", "It closed.")


class Server:
    """A model whose calls are answered by the test."""

    def __init__(self, script: Callable[[ResponseHandler], object] | None = None) -> None:
        self.handlers: list[ResponseHandler] = []
        self.closed = 0
        self.script = script

    def ask(self, body: bytes, handler: ResponseHandler, headers: Mapping[str, str]) -> Any:
        self.handlers.append(handler)
        if self.script is not None:
            gevent.spawn(self.script, handler)
        return self

    def list(self, name: str | None, handler: ResponseHandler) -> Any:
        raise AssertionError

    def pass_on(self, request: Passed, handler: ResponseHandler) -> Any:
        raise AssertionError

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def release(self) -> None: ...

    def close(self) -> None:
        self.closed += 1


class Heard:
    """Takes what an answer is."""

    def __init__(self, user: str = "u") -> None:
        self.user = user
        self.told: list[Any] = []

    def began(self, status: int, headers: dict[str, str]) -> None:
        self.told.append(status)

    def heard(self, body: bytes) -> None:
        self.told.append(body)

    def complete(self) -> None:
        self.told.append("complete")

    def failed(self, fault: Fault) -> None:
        self.told.append(fault.code)

    def until(self, last: Any) -> list[Any]:
        with gevent.Timeout(10):
            while not self.told or self.told[-1] != last:
                gevent.sleep(0.005)
        return self.told


def place(server: Server, name: str = "s", **options: Any) -> Place:
    given: dict[str, Any] = {"models": ["*"], "weight": 1, "at_a_time": None, "queue": 10} | options
    return Place(name, server, **given)


def ask(
    *places: Place, user: str = "u", model: str = "m", stream: bool = True, first_token: float = 60.0
) -> tuple[Heard, Any]:
    heard = Heard(user)
    return heard, Router(places, first_token).ask(json.dumps({"model": model, "stream": stream}).encode(), heard, {})


def says(*told: Any) -> Callable[[ResponseHandler], None]:
    def script(handler: ResponseHandler) -> None:
        for each in told:
            if isinstance(each, tuple):
                handler.began(*each)
            elif isinstance(each, bytes):
                handler.heard(each)
            elif isinstance(each, Fault):
                handler.failed(each)
            else:
                handler.complete()

    return script


GOOD = says((200, OK), ROLE, TOKEN, None)


def wait(met: Callable[[], object]) -> None:
    with gevent.Timeout(10):
        while not met():
            gevent.sleep(0.005)


def queue(heard: Heard) -> list[int]:
    chunks = [json.loads(each[6:]) for each in heard.told if isinstance(each, bytes) and b'"queue"' in each]
    return [each["queue"]["place"] for each in chunks]
