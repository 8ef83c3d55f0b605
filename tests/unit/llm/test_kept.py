"""What is kept of questions and answers: its bytes, its settling, and the turns in which it is parsed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from pushsvc.concurrency.shares import SharedSlice
from pushsvc.errors import TooManyGenerations, Unavailable
from pushsvc.llm.asked import RESPONSES, Asked
from pushsvc.llm.formats import kept_json
from pushsvc.llm.formats.kept_json import long_json
from pushsvc.llm.making.keeping import Keeping
from pushsvc.llm.outcome import CANCELLED
from pushsvc.llm.quota import Quota, size_of
from pushsvc.llm.request import About, Question


class Store:
    """Redis with one generation, whose fields have these lengths."""

    def __init__(self, lengths: dict[str, int]) -> None:
        self.keys = SimpleNamespace(generations=str, generation=str)
        self._lengths = lengths

    def execute_one(self, _command: Any) -> list[bytes]:
        return [b"gen_1"]

    def execute(self, commands: list[tuple[str, ...]]) -> list[int]:
        return [self._lengths[command[2]] for command in commands]


def test_what_is_told_again_of_a_question_counts() -> None:
    asked = Asked(RESPONSES, True, members={"instructions": "x" * 1000})
    question = Question(b"{}", stream=True, cancels=False, about=About("m", 1, (0, 2)), asked=asked)
    assert size_of(question.fields()) > 1000
    store: Any = Store({"request": 10, "asked": 900_000})
    Quota(store, 1_000_000, lambda _user, _ids: ()).make_room("u", 90_000)
    with pytest.raises(TooManyGenerations):
        Quota(store, 900_000, lambda _user, _ids: ()).make_room("u", 90_000)


class Owner:
    """Generations with one that was cancelled. `away`: how often Redis is away when its answer is written."""

    def __init__(self, away: int = 0) -> None:
        self.records = self
        self.counts = 0
        self.written: list[bytes] = []
        self._away = away

    def find(self, generation_id: str) -> Any:
        answer = self.written[-1] if self.written else None
        return SimpleNamespace(id=generation_id, ending=CANCELLED, about=None, answer=answer, ended=1)

    def answer(self, _record: Any) -> dict[str, Any]:
        return {"choices": []}

    def counted(self, *_of: Any) -> None:
        self.counts += 1

    def keep_answer(self, _generation_id: str, answer: bytes) -> None:
        if self._away:
            self._away -= 1
            raise Unavailable("Redis is away.", retry_after=1)
        self.written.append(answer)


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is to be called later."""
    found: list[Any] = []
    monkeypatch.setattr(gevent, "spawn_later", lambda _pause, *call: found.append(call))
    return found


def test_an_answer_is_kept_once_redis_is_back_and_counted_once(spawned: list[Any]) -> None:
    owner: Any = Owner(away=2)
    Keeping(owner, SimpleNamespace()).keep_answer("gen_1")  # type: ignore[arg-type]
    while spawned:
        call, *of = spawned.pop()
        call(*of)
    assert (owner.counts, len(owner.written)) == (1, 1)


def test_what_its_own_worker_does_not_settle_another_does_once(spawned: list[Any]) -> None:
    owner: Any = Owner()
    keeps = Keeping(owner, SimpleNamespace())  # type: ignore[arg-type]
    keeps.settle_later(owner.find("gen_1"))
    keeps.settle(owner.find("gen_1"))  # it ended long ago
    [(call, *of)] = spawned
    call(*of)
    assert (owner.counts, len(owner.written)) == (1, 1)


def test_only_long_json_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[bool] = []
    monkeypatch.setattr(SharedSlice, "begin", lambda _: turns.append(True))
    assert long_json(b'{"a":1}') == {"a": 1}
    assert not turns
    long_json(b'{"a":"%b"}' % (b"x" * kept_json.SHORT_BYTES))
    assert turns == [True]
