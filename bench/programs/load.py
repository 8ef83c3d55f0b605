"""Drives `load`, the client in C: one command, one answer."""

from __future__ import annotations

import json
import select
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from bench.programs.child import BenchError, Child


@dataclass(frozen=True, slots=True)
class Heard:
    """The results of a phase (see load.h). Times are in ms, from the sending of a publish to the reading of its
    event."""

    up: int
    failed: int
    why: str
    seconds: float
    deliveries: int
    lost: int
    repeated: int
    disorder: int
    stray: int
    posts: int
    refused: int
    without_id: int
    dropped: int
    reconnects: int
    bytes: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    most: int
    returns: list[int]

    @classmethod
    def read(cls, line: str) -> Self:
        values: dict[str, Any] = json.loads(line)
        return cls(**{field.name: values[field.name] for field in fields(cls)})

    def faults(self) -> str:
        """The things that no server may do and this one did, as text; empty if all is well."""
        names = ("failed", "lost", "repeated", "disorder", "refused", "dropped")
        told = [f"{getattr(self, name)} {name}" for name in names if getattr(self, name)]
        return ", ".join([*told, *([self.why] if told and self.why else [])])


@dataclass(frozen=True, slots=True)
class Target:
    """The way to speak to a server. `blind`: it answers a stream's head only with the first event."""

    port: int
    stream: str
    publish: str = "/publish"
    publish_header: str = "X-Bench: 1"
    blind: bool = False


class Load:
    """One client process. Phases are numbered, so that events of an earlier phase or of another client are recognised.

    `phase` is the number before that of the first phase; clients whose events can meet need different ones.
    """

    def __init__(self, program: Path, folder: Path, target: Target, headers: Sequence[str], phase: int = 0) -> None:
        self._folder = folder
        self._phase = phase
        lines = folder / f"headers-{id(self)}"
        lines.write_text("\n".join(headers))
        words = [str(program), str(target.port), target.stream, str(lines), target.publish, target.publish_header]
        self._child = Child([*words, "blind"] if target.blind else words, piped=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.stop()

    def open(self, count: int, pace: int = 200) -> Heard:
        """Connect up to `count`, at most `pace` of them at a time. Raises BenchError if not all come up."""
        self.begin_open(count, pace)
        return self.end_open(count)

    def begin_open(self, count: int, pace: int) -> None:
        self._say(f"open {count} {pace}")

    def end_open(self, count: int) -> Heard:
        heard = self.answer()
        if heard.up != count:
            raise BenchError(f"{heard.up} of {count} connections came up: {heard.why or 'no answer'}")
        return heard

    def flow(self, body: str, rate: float, seconds: float, publishers: int = 4) -> Heard:
        """POST `body` `rate` times a second, and wait until all is delivered. Each @DATA@ in it is an event; for @USER@
        see load.c. With rate 0 each publisher sends its next request as soon as it has an answer."""
        self.begin_flow(body, rate, seconds, publishers)
        return self.answer()

    def begin_flow(self, body: str, rate: float, seconds: float = 0, publishers: int = 4) -> None:
        """Begin what `flow` does, without waiting. With 0 seconds it goes on until `end_flow`."""
        path = self._next_body(body)
        self._say(f"flow {self._phase} {rate} {seconds} {publishers} {path}")

    def begin_lines(self, line: str, count: int) -> None:
        """Begin to publish `count` events in one request as NDJSON, without waiting."""
        path = self._next_body(line)
        self._say(f"lines {self._phase} {count} {path}")

    def _next_body(self, body: str) -> Path:
        self._phase += 1
        path = self._folder / f"body-{id(self)}-{self._phase}"
        path.write_text(body)
        return path

    def listen(self, phase: int) -> None:
        """Count what others publish from now on under `phase`."""
        self._ask(f"listen {phase}")

    def begin_hear(self, deliveries: int) -> None:
        """Begin to wait until there were so many deliveries since `listen`; `answer` ends it."""
        self._say(f"hear {deliveries}")

    def ready(self, seconds: float) -> bool:
        """Whether what was begun ends within that time."""
        assert self._child.process.stdout is not None
        return bool(select.select([self._child.process.stdout], [], [], seconds)[0])

    def end_flow(self) -> Heard:
        return self._ask("stop")

    def close(self) -> Heard:
        return self._ask("close")

    def resume(self, phase: int, events: int, pace: int) -> Heard:
        """Connect again with Last-Event-ID, and wait until each has `events` events of `phase`."""
        self.begin_resume(phase, events, pace)
        return self.answer()

    def begin_resume(self, phase: int, events: int, pace: int) -> None:
        """Begin what `resume` does, without waiting. With 0 events it goes on until `end_resume`. Whoever is connected
        stays so, and comes back if the server lets go of them."""
        self._say(f"resume {phase} {events} {pace}")

    def end_resume(self, events: int) -> Heard:
        """Wait until each connection has the `events` that were published."""
        return self._ask(str(events))

    def _ask(self, command: str) -> Heard:
        self._say(command)
        return self.answer()

    def _say(self, command: str) -> None:
        assert self._child.process.stdin is not None
        self._child.process.stdin.write(command + "\n")
        self._child.process.stdin.flush()

    def answer(self) -> Heard:
        assert self._child.process.stdout is not None
        line = self._child.process.stdout.readline()
        if not line:
            raise BenchError(f"the load client ended: {self._child.said()}")
        return Heard.read(line)
