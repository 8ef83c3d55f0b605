"""The rules of when an answer is complete, and when it takes too long: without a clock."""

from __future__ import annotations

from typing import Any

import pytest

from pushsvc.llm.making.progress import MOMENT_SECONDS, Limits, Progress
from tests.support.models.chunks import chunk

LIMITS = Limits(first_token=8, between_tokens=2, total=100)
ROLE = chunk(None, delta={"role": "assistant", "content": ""})
STOP = chunk(None, finish_reason="stop")


def due(progress: Progress, now: float, *, streams: bool = True, paused: bool = False) -> str | None:
    ending = progress.ending(now, LIMITS, streams=streams, paused=paused)
    return None if ending is None else (ending.error or {"code": ending.state})["code"]


def after(*told: tuple[float, dict[str, Any] | None], choices: int = 1) -> Progress:
    progress = Progress(choices, 0)
    for now, value in told:
        progress.heard_at = now
        if value is not None:
            progress.take(value)
    return progress


QUIET: list[dict[str, Any] | None] = [
    ROLE,
    {"choices": []},
    {"choices": None, "usage": {"total_tokens": 1}},
    {"choices": [], "prompt_progress": {"processed": 1}},
    chunk(None, delta={"content": None, "reasoning_content": "", "tool_calls": []}),
    chunk(None, delta=None),
    None,
]


@pytest.mark.parametrize("value", QUIET)
def test_what_carries_no_token_is_neither_the_first_nor_silence(value: dict[str, Any] | None) -> None:
    progress = after((7, value))
    assert due(progress, 14) is None
    assert due(progress, 15.1) == "first_token_timeout"
    progress = after((1, chunk("a")), (2.5, value))
    assert due(progress, 4.4) is None
    assert due(progress, 4.6) == "between_tokens_timeout"


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "a"},
        {"reasoning_content": "a"},
        {"tool_calls": [{"index": 0}]},
        {"refusal": "no"},
        {"thinking": "a"},
    ],
)
def test_a_token(delta: dict[str, Any]) -> None:
    assert due(after((1, chunk(None, delta=delta))), 3.1) == "between_tokens_timeout"


def test_the_total_always_holds() -> None:
    progress = after(*((float(second), None) for second in range(101)))
    assert due(progress, 100) is None
    assert due(progress, 100.1) == "total_timeout"
    assert due(progress, 100.1, paused=True) == "total_timeout"


def test_who_is_not_listened_to_is_not_silent() -> None:
    assert due(after((1, chunk("a"))), 50, paused=True) is None
    assert due(Progress(1, 0), 50, streams=False) is None


def test_a_moment_after_the_last_reason_it_is_complete() -> None:
    progress = after((1, chunk("a")), (5, STOP), (5.9, None))
    assert progress.finished
    assert due(progress, 5 + MOMENT_SECONDS / 2) is None
    assert due(progress, 5.1 + MOMENT_SECONDS) == "completed"
    late = after((1, chunk("a", finish_reason="stop")), (1.9, chunk("b")), (2.8, None))
    assert due(late, 2.5) is None
    assert due(late, 2 + MOMENT_SECONDS) == "completed"
    counted = after((1, STOP), *((1 + n / 2, {"choices": [], "usage": {}}) for n in range(9)))
    assert due(counted, 2.1) == "completed"


def test_all_choices_that_were_asked_for() -> None:
    told: list[tuple[float, dict[str, Any] | None]] = [(1, chunk("a")), (2, STOP)]
    progress = after(*told, choices=2)
    assert not progress.finished
    assert not progress.complete(whole=False)
    assert progress.complete(whole=True)  # the server does not know `n`
    progress = after(*told, (2.5, chunk("b", index=1)), choices=2)
    assert not progress.complete(whole=True)
    assert due(progress, 4) is None
    progress = after(*told, (2.5, chunk("b", index=1)), (3, chunk(None, index=1, finish_reason="length")), choices=2)
    assert progress.complete(whole=False)


def test_the_mark_of_the_end() -> None:
    progress = after((1, chunk("a")))
    progress.done()
    assert not progress.complete(whole=False)
    assert progress.complete(whole=True)
    assert due(progress, 1.5) is None
    assert due(progress, 2.1) == "completed"
    assert not Progress(1, 0).complete(whole=True)
    progress = after((1, chunk("a")), (1, STOP), choices=2)
    progress.done()
    assert progress.complete(whole=False)  # it gave one of two, and said that this was all


def test_choices_without_number() -> None:
    """Each of many choices costs as much as the first."""
    choices = [{"index": index, "delta": {"content": "a"}, "finish_reason": "stop"} for index in range(200_000)]
    assert after((1, {"choices": choices}), choices=200_000).finished
    assert not after((1, {"choices": choices}), choices=200_001).finished
