"""Drives `ask`, the client in C for streamed answers: one command, one answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from bench.programs.child import BenchError, Child


@dataclass(frozen=True, slots=True)
class Told:
    """The results of a command (see ask.c). Times are in ms, from the sending of a token to its reading. `begun`,
    `complete` and `failed` count answers since the first command."""

    begun: int
    complete: int
    failed: int
    why: str
    seconds: float
    tokens: int
    events: int
    bytes: int
    repeated: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def read(cls, line: str) -> Self:
        values: dict[str, Any] = json.loads(line)
        return cls(**{field.name: values[field.name] for field in fields(cls)})


class Asking:
    """One client process that asks the same question with each of these header lines."""

    def __init__(self, program: Path, folder: Path, port: int, question: str, headers: Sequence[str]) -> None:
        lines, body = folder / "ask-headers", folder / "ask-body"
        lines.write_text("\n".join(headers))
        body.write_text(question)
        self._count = len(headers)
        self._child = Child([str(program), str(port), "/v1/chat/completions", str(lines), str(body)], piped=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.stop()

    def open(self) -> Told:
        """Ask, and wait until all answers have begun. Raises BenchError if one does not."""
        told = self._ask(f"open {self._count}")
        if told.begun != self._count:
            raise BenchError(f"{told.begun} of {self._count} answers began: {told.why or 'no token'}")
        return told

    def hear(self, seconds: float) -> Told:
        return self._ask(f"hear {seconds * 1000:.0f}")

    def finish(self) -> Told:
        return self._ask("finish")

    def _ask(self, command: str) -> Told:
        assert self._child.process.stdin is not None
        assert self._child.process.stdout is not None
        self._child.process.stdin.write(command + "\n")
        self._child.process.stdin.flush()
        line = self._child.process.stdout.readline()
        if not line:
            raise BenchError(f"the asking client ended: {self._child.said()}")
        return Told.read(line)
