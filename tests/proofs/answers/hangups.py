"""The time from a cancel until the model's socket is closed: `python -m tests.proofs.answers.hangups 200`.

Two stacks of one worker each share a Redis. An answer is made by the first, and cancelled before its first token or in
the middle, in each way that there is, at the worker that makes it and at the other one. A time is from before the
cancel is sent, through nginx, until the model reads the end of its connection.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.support.clients.eventsource import until
from tests.support.clients.websocket import WebSocket
from tests.support.models.completions import ASK
from tests.support.models.model import HEAD, Conversation, Model
from tests.support.stack import Stack

USER = "ada"
Cancel = Callable[[str], object]


class Closings:
    """A model that answers with a token, or nothing, and notes when its connection is closed."""

    def __init__(self) -> None:
        self.model = Model()
        self.model.script = self._script
        self.says = False
        self._closed: dict[int, float] = {}  # by the number of the question, from 0

    def _script(self, conversation: Conversation) -> None:
        number = self.model.conversations.index(conversation)
        if self.says:
            conversation.send(HEAD).say("a")
        conversation.scripted.set()
        conversation.wait_for_hang_up()
        self._closed[number] = time.perf_counter()

    @property
    def asked(self) -> int:
        """The number of questions so far."""
        return len(self.model.conversations)

    def begun(self, number: int) -> None:
        """Wait until the question was asked, and what is said at first was."""
        self.model.asked(number + 1).scripted.wait(15)

    def closed(self, number: int) -> float:
        """The time at which the connection of a question was closed."""
        until(lambda: number in self._closed, "the end of the model's connection")
        return self._closed[number]


class Client:
    """The user, at one of the two workers."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.http = httpx.Client(base_url=stack.url, headers=stack.bearer(USER), trust_env=False, timeout=60)
        ticket = stack.post("/tickets", {}, stack.bearer(USER)).json()["ticket"]
        self.socket = WebSocket(f"{stack.url}/ws?ticket={ticket}")

    def delete(self, name: str) -> None:
        self.http.delete(f"/v1/generations/{name}")

    def cancel_response(self, name: str) -> None:
        self.http.post(f"/v1/responses/resp_{name.removeprefix('gen_')}/cancel")

    def by_socket(self, name: str) -> None:
        self.socket.ask({"type": "cancel", "id": name})

    def interrupt(self, name: str) -> None:
        self.http.post("/v1/generations", json=ASK | {"conversation": "c", "interrupt": True})

    def end_all(self) -> None:
        """Cancel what still runs."""
        for each in self.http.get("/v1/generations").json()["data"]:
            if each["state"] == "running":
                self.delete(each["id"])


@contextmanager
def leaving(stack: Stack) -> Iterator[socket.socket]:
    """A client that asked with `on_disconnect`, and is to leave."""
    body = json.dumps(ASK | {"stream": True, "on_disconnect": "cancel"})
    head = ["POST /v1/chat/completions HTTP/1.1", "Host: x", "Content-Type: application/json"]
    head += [f"{name}: {value}" for name, value in stack.bearer(USER).items()] + [f"Content-Length: {len(body)}"]
    address = urlsplit(stack.url)
    with socket.create_connection((address.hostname or "", address.port or 80), timeout=60) as client:
        client.sendall("\r\n".join([*head, "", body]).encode())
        yield client


def cancelled(model: Closings, maker: Client, cancel: Cancel) -> float:
    """Begin an answer and cancel it; give the milliseconds until the model's socket is closed."""
    number, asked = model.asked, ASK | {"conversation": "c"}
    path = "/v1/generations"
    if getattr(cancel, "__name__", "") == "cancel_response":
        path, asked = "/v1/responses", {"model": "m", "input": "q", "background": True}
    name = f"gen_{maker.http.post(path, json=asked).json()['id'].rpartition('_')[2]}"
    model.begun(number)
    if model.says:
        heard(maker, name)
    before = time.perf_counter()
    cancel(name)
    took = model.closed(number) - before
    maker.end_all()
    return took * 1000


def heard(maker: Client, name: str) -> None:
    """Wait until the service has the first token."""
    until(lambda: maker.http.get(f"/v1/generations/{name}").json()["text"] == "a", "the first token")


def left(model: Closings, stack: Stack) -> float:
    """Ask and leave; give the milliseconds until the model's socket is closed."""
    number = model.asked
    with leaving(stack) as client:
        model.begun(number)
        while model.says and b'"a"' not in client.recv(65536, socket.MSG_PEEK):
            pass
        before = time.perf_counter()
    return (model.closed(number) - before) * 1000


def looked(client: Client) -> float:
    """The milliseconds that a request for nothing takes, which are the machine's."""
    before = time.perf_counter()
    client.http.get("/healthz")
    return (time.perf_counter() - before) * 1000


def measured(model: Closings, stacks: tuple[Stack, Stack], rounds: int) -> dict[str, list[float]]:
    """All ways in turn, so that what else the machine does meets all alike."""
    maker, other = map(Client, stacks)
    found = defaultdict[str, list[float]](list)
    for _ in range(rounds):
        for model.says in (False, True):
            when = "in the middle" if model.says else "before the first token"
            for where, client in (("same worker", maker), ("other worker", other)):
                for way in (client.delete, client.cancel_response, client.by_socket, client.interrupt):
                    found[f"{way.__name__}, {where}, {when}"].append(cancelled(model, maker, way))
            found[f"on_disconnect: cancel, {when}"].append(left(model, stacks[0]))
        found["for comparison: GET /healthz"].append(looked(maker))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Time how soon a model is hung up on.")
    parser.add_argument("rounds", type=int, nargs="?", default=100, help="times that each way is tried")
    rounds: int = parser.parse_args().rounds
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory()))
        model = Closings()
        closing.callback(model.model.close)
        options = {"workers": 1, "rate_ask": "off", "rate_connect": "off", "llm_base_url": model.model.url}
        first = Stack(folder / "first", **options)
        closing.callback(first.stop)
        second = Stack(folder / "second", redis_url=f"unix://{folder}/first/valkey.sock", **options)
        closing.callback(second.stop)
        print(f"{'ms until the model is hung up on':58}  median     p95     max   over 50 ms")
        for words, times in measured(model, (first, second), rounds).items():
            p95, over = statistics.quantiles(times, n=20)[-1], sum(each > 50 for each in times)
            print(f"{words:58} {statistics.median(times):7.1f} {p95:7.1f} {max(times):7.1f}   {over} of {len(times)}")


if __name__ == "__main__":
    main()
