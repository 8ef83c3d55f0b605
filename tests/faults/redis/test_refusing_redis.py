"""A Redis that refuses is no Redis that is away: what it says is told as that, and stops nothing that need not stop."""

from __future__ import annotations

import itertools
import logging

import pytest
from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

import pushsvc.storage.log  # noqa: F401  # so that its scripts are known, whichever tests are run
from pushsvc.errors import NoRights, NotApplied, OutOfSpace, PushError, ReadsOnly, TooFewReplicas, Unavailable
from pushsvc.storage.redis.pipeline import NotSent
from pushsvc.storage.redis.refusals import LOST, RefusalLog, refusal
from pushsvc.storage.redis.scripts import Script
from pushsvc.storage.redis.topology.demoted import is_demoted
from tests.conftest import Start
from tests.support.clients.eventsource import EventSource, until
from tests.support.ports import free_port
from tests.support.redis.filtering import filtering

FULL = "max number of clients reached"


@pytest.mark.parametrize(
    ("error", "kind", "detail"),
    [
        (ResponseError("NOREPLICAS Not enough good replicas to write."), TooFewReplicas, "too few replicas"),
        (ResponseError("BUSY Redis is busy running a script."), NotApplied, "busy with somebody's script"),
        (ResponseError("MISCONF Errors writing to the AOF file"), OutOfSpace, "cannot write to its disk"),
        (ResponseError("BUSYKEY Target key name already exists."), Unavailable, "look at its log"),
        (ClusterDownError("The cluster is down"), NotApplied, "cluster is down"),
        (ClusterDownError("The cluster is down and only accepts read commands"), ReadsOnly, "lacks a part"),
        (MasterDownError("Link with MASTER is down"), NotApplied, "lost its master"),
        (TryAgainError("Multiple keys request during rehashing of slot"), NotApplied, "moving"),
        (AuthenticationError("invalid username-password pair"), NotApplied, "its account"),
        (NoPermissionError("this user has no permissions to run the 'xadd' command"), NoRights, "its rights"),
        (ResponseError("ACL failure in script: User x has no permissions to run"), NoRights, "its rights"),
        (ResponseError("The user executing the script can't run this command"), NoRights, "its rights"),
        (ReadOnlyError("You can't write against a read only replica."), NotApplied, "read-only replica"),
        (NotSent("refused"), NotApplied, "does not answer"),
    ],
)
def test_what_redis_refuses_in_our_words(error: Exception, kind: type[PushError], detail: str) -> None:
    found = refusal(error)
    assert type(found) is kind
    assert detail in found.detail
    assert refusal(error) is not found, "each is raised by itself"


def test_a_part_of_a_cluster_that_is_down() -> None:
    assert refusal(MovedError("13907 127.0.0.1:1"), lost=True).detail == LOST
    assert "its rights" in refusal(NoPermissionError("this user has no permissions"), lost=True).detail


@pytest.mark.parametrize("says", ["LOADING Redis is loading", "NOAUTH Authentication required.", f"ERR {FULL}"])
def test_one_refusal_among_answers_is_of_one_command(start: Start, user: str, says: str) -> None:
    """The others in the same round trip were run, and are not run again."""
    count = itertools.count()
    [append] = {script.sha for script in Script.all if script.name == "log/append"}

    def rewrite(words: list[bytes]) -> list[bytes]:
        if words[0] == b"EVALSHA" and words[1].decode() == append and next(count) % 3 == 1:
            return [b"EVAL", f"return redis.error_reply({says!r})".encode(), b"0"]
        return words

    server = start(workers=1)
    port = free_port()
    server.redis.config_set("port", port)
    with filtering(port, rewrite) as door:
        stack = start(redis_url=f"redis://127.0.0.1:{door}", workers=1)
        with stack.listen(user) as source:
            data = [str(number) for number in range(20)]
            ids = stack.publish_many([{"user": user, "data": each} for each in data])
            source.wait_ids(*ids, stack.publish(user=user, data="end"))
            assert sorted(source.data) == sorted([*data, "end"])


def test_without_replicas_that_it_insists_on_listeners_are_served(start: Start, user: str) -> None:
    """The setting of every guide to sentinels, while the replica reboots."""
    stack = start(workers=2, heartbeat_seconds=0.5)
    ids = stack.publish_many([{"user": user, "data": data} for data in ("1", "2", "3")])
    ticket = stack.post("/tickets", {"user": user}, stack.bearer(user)).json()["url"]
    with stack.listen(user) as source, EventSource(f"{stack.url}{ticket}").wait_open() as other:
        stack.redis.config_set("min-replicas-to-write", 1)
        try:
            answer = stack.post("/publish", {"user": user, "data": "4"}, stack.bearer(publish=["*"]))
            assert (answer.status_code, "too few replicas" in answer.json()["detail"]) == (503, True)
            with stack.listen(user, headers={"Last-Event-ID": ids[0]}) as late:
                late.wait_ids(*ids[1:])
                late.wait(lambda each: each.parser.comments.count("") >= 8, "it to stay open for some seconds")
                assert not late.refusals
            last = other.parser.last_event_id
            with EventSource(f"{stack.url}{ticket}", {"Last-Event-ID": last}).wait_open() as again:
                again.wait(lambda each: each.parser.comments.count("") >= 2, "a ticket's stream that comes back")
            assert stack.get("/readyz", {}).status_code == 200
            assert stack.get("/history", stack.bearer(user), channel=f"user:{user}").status_code == 200
        finally:
            stack.redis.config_set("min-replicas-to-write", 0)
        ids.append(stack.publish(user=user, data="5"))
        source.wait_ids(*ids)
        assert source.ids == ids
        assert source.statuses == [200]


def test_a_publish_waits_for_who_is_busy(start: Start, user: str) -> None:
    stack = start(workers=1)
    stack.publish(user=user, data="1")
    stack.redis.config_set("busy-reply-threshold", 50)
    ids: list[str] = []

    def published() -> bool:
        answer = stack.post("/publish", {"user": user, "data": "2"}, stack.bearer(publish=["*"]))
        if answer.status_code == 200:
            ids.append(answer.json()["id"])
        else:
            assert "busy with somebody's script" in answer.json()["detail"], answer.text
        return answer.status_code == 200

    wait = "local t = redis.call('TIME')[1] + 2 while redis.call('TIME')[1] + 0 < t do end"
    raw = stack.redis.connection_pool.make_connection()
    raw.connect()
    raw.send_command("EVAL", wait, 0)
    until(published, "the end of the script")
    raw.disconnect()
    assert len(ids) == 1


def test_the_same_refusal_is_one_line_a_second(caplog: pytest.LogCaptureFixture) -> None:
    said = RefusalLog()
    with caplog.at_level(logging.WARNING, "pushsvc.storage.redis.refusals"):
        for _ in range(100):
            said.warn(ResponseError("NOREPLICAS Not enough good replicas to write."))
        said.warn(ResponseError("BUSY"))
    assert len(caplog.records) == 2


@pytest.mark.parametrize("error", [
    ReadOnlyError("You can't write against a read only replica."),
    MovedError("13907 127.0.0.1:1"),
    ClusterDownError("The cluster is down"),
    "READONLY You can't write against a read only replica.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
])  # fmt: skip
def test_a_redis_that_is_no_master_any_more_shows_it(error: object) -> None:
    assert is_demoted(error)


@pytest.mark.parametrize("error", [
    ClusterDownError("The cluster is down and only accepts read commands"),
    "OOM command not allowed when used memory > 'maxmemory'.",
    NoPermissionError("this user has no permissions to run the 'xadd' command"),
])  # fmt: skip
def test_a_master_may_refuse_for_other_reasons(error: object) -> None:
    assert not is_demoted(error)
