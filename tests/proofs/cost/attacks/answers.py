"""Attacks with questions to a model, and with answers that are kept."""

from __future__ import annotations

import json

from tests.proofs.cost.attack import Attack, Target

_JSON = "Content-Type: application/json"
_BYTES = 8 * 2**20 - 1000


def _asked(target: Target, content: str, user: str = "mallory") -> str:
    """Ask a question, and give the id of its answer."""
    body = json.dumps({"model": "mock", "messages": [{"role": "user", "content": content}]}).encode()
    answer = target.ask("POST /v1/generations", _JSON, target.bearer(user), body=body)
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["id"])


def _keep_large(target: Target) -> str:
    return _asked(target, "x" * _BYTES)


def _state(target: Target, generation_id: str) -> None:
    target.ask(f"GET /v1/generations/{generation_id}", target.bearer("mallory"))


def _question_of(target: Target, generation_id: str) -> None:
    target.ask(f"GET /v1/generations/{generation_id}?include=messages", target.bearer("mallory"))


def _answered(target: Target) -> str:
    """Ask for an answer of many tokens, and wait for its end."""
    generation_id = _asked(target, "x" * 10_000)
    _retold(target, generation_id)
    return generation_id


def _retold(target: Target, generation_id: str) -> None:
    target.ask(f"GET /v1/generations/{generation_id}/events", target.bearer("mallory"))


def _list(target: Target, generation_id: str) -> None:
    target.ask("GET /v1/generations", target.bearer("mallory"))


def _nested(target: Target, body: bytes) -> None:
    target.ask("POST /v1/generations", _JSON, target.bearer("mallory"), body=body)


def _question(filling: str) -> bytes:
    parts = filling * (_BYTES // len(filling))
    return b'{"messages":[{"role":"user","content":[' + parts.encode() + b"1]}]}"


def _plain() -> bytes:
    return b'{"messages":[{"role":"user","content":"' + b"x" * _BYTES + b'"}]}'


def _deep(_: Target) -> bytes:
    half = _BYTES // 2 - 100
    return b'{"messages":' + b"[" * half + b"]" * half + b"}"


ATTACKS = {
    "state-of-8-MB": Attack(_state, _keep_large, at_once=4, pause=0.5),
    "question-told-8-MB": Attack(_question_of, _keep_large, at_once=4, pause=0.5),
    "answer-retold": Attack(_retold, _answered, at_once=4, pause=0.05),
    "list-of-8-MB": Attack(_list, _keep_large, at_once=4, pause=0.5),
    "question-of-lists": Attack(_nested, lambda _: _question("[],"), at_once=10, pause=1.0),
    "question-of-objects": Attack(_nested, lambda _: _question('{"a":1},'), at_once=10, pause=1.0),
    "question-of-quotes": Attack(_nested, lambda _: _question(r'"\"\\",'), at_once=10, pause=1.0),
    "question-plain": Attack(_nested, lambda _: _plain(), at_once=10, pause=1.0),
    "question-deep": Attack(_nested, _deep, at_once=10, pause=1.0),
}
