"""Healthy users, and what they notice: the time from a publish to its delivery, and requests that are refused."""

from __future__ import annotations

import contextlib
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import orjson

from tests.proofs.cost.attack import Target
from tests.support.clients.wire import request
from tests.support.stack import Stack

LISTENERS = 12
EACH_SECONDS = 0.02  # between two publishes
SAMPLE_SECONDS = 0.05  # between two looks at the memory
SETTLE_SECONDS = 2.0  # in which the last events arrive
PAGE_BYTES = 4096


class Felt(NamedTuple):
    """The figures that tell what the healthy noticed in a while: milliseconds from publish to delivery, refused
    requests by what they were, events that did not come in time, and the workers' largest memory in MB."""

    median: float
    p99: float
    refused: Counter[str]
    late: int
    memory: float


class Healthy:
    """A few users who listen through nginx, and a backend that publishes to them."""

    def __init__(self, stack: Stack, target: Target) -> None:
        self._stack = stack
        self._target = target
        self._delays: list[float] = []
        self._sent = 0
        self._refused: Counter[str] = Counter()
        self._clients: list[socket.socket] = []
        for number in range(LISTENERS):
            self._listen(f"healthy{number}")
        time.sleep(0.5)

    def _listen(self, user: str) -> None:
        client = self._target.connect(self._target.http)
        client.settimeout(None)
        client.sendall(request("GET /events?since=now", "Accept: text/event-stream", self._target.bearer(user)))
        self._clients.append(client)
        threading.Thread(target=self._hear, args=(client,), daemon=True).start()

    def _hear(self, client: socket.socket) -> None:
        with client.makefile("rb") as lines, contextlib.suppress(OSError):
            for line in lines:
                if line.startswith(b"data: at "):
                    self._delays.append(time.perf_counter() - float(line[9:]))

    def close(self) -> None:
        """Stop listening."""
        for client in self._clients:
            client.close()

    def feel(self, seconds: float) -> Felt:
        """Live for so long, and tell what was noticed."""
        self._delays.clear()
        self._sent, self._refused = 0, Counter()
        memory, end = 0.0, time.monotonic() + seconds
        others = [threading.Thread(target=self._live, args=(end, work)) for work in (self._publish, self._ask)]
        for each in others:
            each.start()
        while time.monotonic() < end:
            memory = max(memory, self.memory())
            time.sleep(SAMPLE_SECONDS)
        for each in others:
            each.join()
        settled = time.monotonic() + SETTLE_SECONDS
        while len(self._delays) < self._sent and time.monotonic() < settled:
            time.sleep(SAMPLE_SECONDS)
        delays = sorted(self._delays) or [float("nan")]
        p99 = delays[min(len(delays) - 1, int(len(delays) * 0.99))]
        late = self._sent - len(self._delays)
        return Felt(statistics.median(delays) * 1000, p99 * 1000, self._refused, late, memory)

    def memory(self) -> float:
        """The workers' resident memory, in MB."""
        pages = 0
        for pid in self._stack.pids()["gunicorn"][1:]:
            with contextlib.suppress(OSError):
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * PAGE_BYTES / 2**20

    def _live(self, end: float, work: Callable[[int], None]) -> None:
        number = 0
        while time.monotonic() < end:
            work(number)
            number += 1

    def _publish(self, number: int) -> None:
        event = {"user": f"healthy{number % LISTENERS}", "data": f"at {time.perf_counter()!r}"}
        fields = "Content-Type: application/json", self._target.bearer("backend", publish=["*"])
        answer = self._target.ask("POST /publish", *fields, body=orjson.dumps(event), door=self._target.http)
        if answer[9:12] == b"200":
            self._sent += 1
        else:
            self._refused[f"publish {answer[9:12].decode()}"] += 1
        time.sleep(EACH_SECONDS)

    def _ask(self, number: int) -> None:
        """Ask for what other users ask for: a ticket, the count of unread events, and an answer of a model."""
        bearer, json = self._target.bearer(f"other{number % 20}"), "Content-Type: application/json"
        question = orjson.dumps({"messages": [{"role": "user", "content": "hi"}], "model": "mock"})
        line, body = (
            ("POST /tickets", b"{}"),
            ("GET /unread", b""),
            ("POST /v1/generations", question),
        )[number % 3]
        answer = self._target.ask(line, bearer, *([json] if body else []), body=body, door=self._target.http)
        if answer[9:10] != b"2":
            self._refused[f"{line} {answer[9:12].decode()}"] += 1
        time.sleep(0.1)
