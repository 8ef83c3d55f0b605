"""Tokens that are taken back: on all workers, with all that was opened with them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest
import redis

from pushsvc.auth import Identity
from pushsvc.storage.redis.client import RedisClient
from pushsvc.storage.revoking import Revocation, Revoking
from pushsvc.tokens.revocations import Revocations
from tests.behaviour.publishing.test_publish_stream import upload
from tests.support.clients.eventsource import EventSource, until
from tests.support.models.model import HEAD, Conversation, Model
from tests.support.stack import Stack


def revoke(stack: Stack, **params: str) -> httpx.Response:
    headers = stack.bearer(None, admin=True)
    return httpx.delete(f"{stack.url}/connections", params=params, headers=headers, trust_env=False)


def status(stack: Stack, headers: dict[str, str]) -> int:
    return stack.get("/unread", headers).status_code


def ended(source: EventSource) -> None:
    source.wait(lambda each: each.closed, "the end")
    assert [problem["status"] for problem in source.refusals] == [401]


def refused_everywhere(stack: Stack, headers: dict[str, str]) -> None:
    """Wait until both workers refuse; which one is asked is left to chance."""
    until(lambda: [status(stack, headers) for _ in range(8)] == [401] * 8, "all workers to know")


@pytest.mark.every_redis
def test_a_token_by_its_id(stack: Stack, user: str) -> None:
    lost, kept = stack.bearer(user, jti=f"{user}-1"), stack.bearer(user, jti=f"{user}-2")
    url = stack.post("/tickets", {"user": user}, lost).json()["url"]
    unspent = stack.post("/tickets", {"user": user}, lost).json()["url"]
    with (
        EventSource(f"{stack.url}/events", lost).wait_open() as own,
        EventSource(stack.url + url).wait_open() as by_ticket,
        EventSource(f"{stack.url}/events", kept).wait_open() as other,
    ):
        assert revoke(stack, jti=f"{user}-1").json() == {"jti": f"{user}-1"}
        ended(own)
        ended(by_ticket)
        other.wait_ids(stack.publish(user=user))
    refused_everywhere(stack, lost)
    assert [status(stack, kept) for _ in range(4)] == [200] * 4
    refused = EventSource(stack.url + unspent)
    refused.wait(lambda each: each.closed, "the refusal")
    # All eight may have been answered by one worker: the other opens the stream, and ends it within a second.
    assert refused.statuses == [401] or [problem["status"] for problem in refused.refusals] == [401]


@pytest.mark.every_redis
def test_all_tokens_of_a_user_up_to_now(stack: Stack, user: str) -> None:
    now = int(time.time())
    before, undated = stack.bearer(user, iat=now - 10), stack.bearer(user)
    with EventSource(f"{stack.url}/events", before).wait_open() as source:
        assert revoke(stack, user=user, tokens="void").json() == {"user": user, "connections": 1}
        ended(source)
    refused_everywhere(stack, before)
    refused_everywhere(stack, undated)
    assert [status(stack, stack.bearer(user, iat=now + 5)) for _ in range(4)] == [200] * 4
    assert status(stack, stack.bearer(f"{user}2")) == 200


def _until_cut(lines: Iterator[str]) -> Iterator[str]:
    """The lines of an answer that is cut before its last chunk."""
    with pytest.raises(httpx.RemoteProtocolError):
        yield from lines


def test_listeners_of_answers_and_askers_end(answering: Stack, model: Model, user: str) -> None:
    def begin(conversation: Conversation) -> None:
        conversation.send(HEAD)
        conversation.say("Hello")

    model.script = begin
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    begun = answering.post("/v1/generations", body, answering.bearer(user)).json()
    url = f"{answering.url}/v1/generations/{begun['id']}/events"
    asking = httpx.Client(base_url=answering.url, trust_env=False, timeout=30)
    with (
        EventSource(url, answering.bearer(user)).wait_open() as listener,
        asking.stream(
            "POST", "/v1/chat/completions", json=body | {"stream": True}, headers=answering.bearer(user)
        ) as asker,
    ):
        lines = asker.iter_lines()
        assert "Hello" in next(line for line in lines if line.startswith("data: {"))
        revoke(answering, user=user)
        ended(listener)
        told = [line for line in _until_cut(lines) if line]
        assert "admin" in told[-1]
    asking.close()


def test_a_stream_of_publications_is_refused_line_by_line(stack: Stack, user: str) -> None:
    with upload(stack.url, stack.bearer(publish=["*"], jti=f"{user}-publisher")) as sent:
        sent.say(user=user, data=1)
        assert "id" in sent.answer()
        assert revoke(stack, jti=f"{user}-publisher").status_code == 200

        def refused() -> bool:
            sent.say(user=user, data=2)
            return bool(sent.answer().get("error", {}).get("status") == 401)

        until(refused, "the token to be void")


def test_what_is_asked_wrongly(stack: Stack, user: str) -> None:
    assert revoke(stack).status_code == 400
    assert revoke(stack, jti="").status_code == 400
    assert revoke(stack, jti="x" * 256).status_code == 400
    assert revoke(stack, jti="x", user=user).status_code == 400
    assert revoke(stack, user=user, tokens="all").status_code == 400
    url = f"{stack.url}/connections?jti=x"
    assert httpx.delete(url, headers=stack.bearer(user), trust_env=False).status_code == 403
    assert httpx.delete(url, trust_env=False).status_code == 401


@pytest.fixture
def store(bare: redis.Redis) -> RedisClient:
    return RedisClient(bare)


def _worker(store: RedisClient) -> tuple[Revoking, Revocations, list[Revocation]]:
    known, ended = Revocations(), list[Revocation]()
    return Revoking(store, known, ended.append), known, ended


def _void(known: Revocations, token: str) -> bool:
    return known.void(Identity(user="alice", token=token))


def test_a_worker_is_ready_once_it_knows_what_was_revoked(store: RedisClient) -> None:
    revoking, known, ended = _worker(store)
    _worker(store)[0].revoke(Revocation(token="t1"), 1)
    assert revoking.unready() is not None
    revoking._look()
    assert revoking.unready() is None
    assert _void(known, "t1")
    assert not ended  # nothing was opened before that


def test_what_redis_loses_is_written_again_by_who_knows_it(store: RedisClient, bare: redis.Redis) -> None:
    """It is written again even if a worker that knows nothing of it revokes as many tokens meanwhile."""
    old, known, ended = _worker(store)
    old.revoke(Revocation(token="t1"), 1)
    old._look()
    bare.flushall()
    newcomer, new_known, _ = _worker(store)
    newcomer._look()
    newcomer.revoke(Revocation(token="t2"), 2)
    old._look()
    newcomer._look()
    assert _void(new_known, "t1")
    assert _void(known, "t2")
    assert Revocation(token="t2") in ended
    assert bare.zcard(store.keys.revocations) == 2
