"""A Redis that is not what it should be: named at the start, and while it runs no more than necessary fails."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import redis

from pushsvc.checks import start as redis_checks
from pushsvc.checks.start import check_redis
from pushsvc.config import Settings
from pushsvc.errors import ConfigError
from pushsvc.storage.redis.keys import ALONE as keys
from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.listening import listening
from tests.support.stack import Stack


def info(lines: str) -> Callable[[bytes], bytes]:
    """A Redis that says this of itself, and OK to all else."""

    def answer(piece: bytes) -> bytes:
        said = b""
        for command in piece.split(b"*")[1:]:
            said += b"$%d\r\n%s\r\n" % (len(lines), lines.encode()) if b"\nINFO\r" in command else b"+OK\r\n"
        return said

    return answer


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n", "what answers there is not Redis: "),
        (lambda _: b"ERROR\r\n", "what answers there is not Redis: "),  # memcached's
        (lambda _: b"-WRONGPASS invalid username-password pair\r\n", "Redis refuses the service: "),
        (lambda _: b"-NOAUTH Authentication required.\r\n", "Redis refuses the service: "),
        (lambda _: b"-NOPERM this user may not\r\n", "Redis refuses the service: "),
        (lambda _: b"-LOADING Redis is loading the dataset in memory\r\n", "Redis is loading its data"),
        (info("redis_version:6.2.14"), "Redis 6.2.14 is too old; 7.0 or later is needed"),
        (info("something:else"), "Redis of no version is too old; 7.0 or later is needed"),
        (info("redis_version:7.4.1\r\nrole:slave\r\nslave_read_only:1"), "Redis is a read-only replica there; "),
    ],
    ids=["http", "memcached", "wrong password", "no password", "no rights", "loading", "old", "no version", "replica"],
)
def test_what_cannot_be_worked_with_is_named(
    answer: Callable[[bytes], bytes], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_checks, "PATIENCE_SECONDS", 0.0)
    with listening(answer) as port, pytest.raises(ConfigError) as caught:
        check_redis(f"redis://:hunter2@127.0.0.1:{port}/0", Settings())
    assert caught.value.detail.startswith(f"PUSHSVC_REDIS_URL: {says}")
    assert "hunter2" not in caught.value.detail
    assert len(caught.value.detail.splitlines()) == 1


def test_a_log_of_a_wrong_type_fails_its_own_publishes_alone(stack: Stack, user: str) -> None:
    headers = stack.bearer(publish=["*"])
    stack.redis.hset(keys.log(f"topic:{user}"), "not", "ours")
    items = [{"user": user, "data": "1"}, {"topic": user, "data": "2"}, {"users": [user, f"{user}-2"], "data": "3"}]
    one, bad, many = stack.post("/publish", items, headers).json()["results"]
    assert bad["error"]["status"] == 500
    assert bad["error"]["title"] == "Broken channel"
    assert [event["id"] for event in history(stack, user)] == [one["id"], many["results"][0]["id"]]
    refused = stack.post("/publish", {"topic": user, "data": "2"}, headers)
    assert (refused.status_code, refused.json()["title"]) == (500, "Broken channel")
    assert keys.log(f"topic:{user}") not in refused.text
    line = f"delete it: 'pushsvc{{0}}:clock' 'pushsvc{{0}}:epoch' '{keys.log(f'topic:{user}')}'"
    until(lambda: line in stack.output, "the line for the operator")
    assert stack.redis.get(keys.tail(f"topic:{user}")) is None, "what was refused left nothing behind"
    stack.redis.set(keys.log(f"user:{user}-3"), "not ours")
    items = [{"users": [user, f"{user}-3"], "data": "4"}]
    [many] = stack.post("/publish", items, headers).json()["results"]
    assert [each["user"] for each in many["results"]] == [user, f"{user}-3"]
    assert [each.get("error", {}).get("status") for each in many["results"]] == [None, 500]


def history(stack: Stack, user: str) -> list[dict[str, str]]:
    answer = stack.get("/history", stack.bearer(user), channel=f"user:{user}")
    events: list[dict[str, str]] = answer.json()["events"]
    return events


def test_a_log_of_a_wrong_type_counts_as_lost_and_holds_no_other_up(stack: Stack, server: str, user: str) -> None:
    first = stack.publish(topic=user, data="had")
    lost = stack.publish(topic=user, data="lost")
    kept = stack.publish(user=user, data="kept")
    stack.redis.delete(keys.log(f"topic:{user}"))
    stack.redis.set(keys.log(f"topic:{user}"), "not ours")
    with stack.listen(user, f"?topics={user}", base=server, headers={"Last-Event-ID": first}) as source:
        gap = source.wait_for(1)[0]
        assert json.loads(gap.data) == {"requested": first, "oldest": None, "reason": "trimmed"}
        source.wait_ids(kept, stack.publish(user=user, data="live"))
        assert source.data[1:] == ["kept", "live"]
        assert gap.id == lost, "the cursor is past the loss, which is said once"


def test_small_keys_of_a_wrong_type_are_put_right(stack: Stack, user: str) -> None:
    """No such key holds up its user, or worse, everybody whose positions are written together with that user's."""
    channel = f"user:{user}"
    for key in (keys.tail(channel), keys.dedupe(channel, "k"), keys.position(user)):
        stack.redis.hset(key, "not", "ours")
    with stack.listen(user, "?since=now") as source:
        ids = [stack.publish(user=user, data="1", key="k")]
        assert stack.publish(user=user, data="1", key="k") == ids[0]
        ids.append(stack.publish(user=user, data="2"))
        source.wait_ids(*ids)
        assert [message.event for message in source.messages] == ["message", "message"]
    until(lambda: stack.get("/unread", stack.bearer(user)).json() == {"unread": 0, "id": ids[-1]}, "the position")


def test_scripts_that_are_flushed_while_all_runs(stack: Stack, user: str) -> None:
    with stack.listen(user, "?since=now") as source:
        ids = []
        for _ in range(5):
            stack.redis.script_flush()
            ids += stack.publish_many([{"user": user, "data": str(number)} for number in range(3)])
        source.wait_ids(*ids)
        assert source.ids == ids


def test_a_log_that_is_deleted_by_hand_is_said(stack: Stack, server: str, user: str) -> None:
    first, last = stack.publish_many([{"user": user, "data": data} for data in ("had", "deleted")])
    stack.redis.delete(keys.log(f"user:{user}"))
    with stack.listen(user, base=server, headers={"Last-Event-ID": first}) as source:
        gap = source.wait_for(1)[0]
        assert json.loads(gap.data) == {"requested": first, "oldest": None, "reason": "trimmed"}
        assert gap.id == last
        source.wait_ids(stack.publish(user=user, data="new"))


def test_a_redis_that_becomes_a_replica(start: Start, user: str) -> None:
    """Publishes are refused with the reason, listeners stay, and all goes on when it is a master again."""
    stack = start(workers=1)
    with stack.listen(user) as source:
        ids = [stack.publish(user=user, data="before")]
        stack.redis.replicaof("127.0.0.1", 1)  # nobody is there, so it keeps its data
        try:
            refused = stack.post("/publish", {"user": user, "data": "-"}, stack.bearer(publish=["*"]))
            assert (refused.status_code, refused.json()["detail"]) == (503, "Redis is a read-only replica; try again.")
            assert int(refused.headers["retry-after"]) > 0
            with pytest.raises(ConfigError, match="read-only replica"):
                check_redis(f"unix://{stack.data_dir}/valkey.sock", Settings())
        finally:
            client: redis.Redis = stack.redis
            client.execute_command("REPLICAOF", "NO", "ONE")
        stack.until_ready()
        ids.append(stack.publish(user=user, data="after"))
        source.wait_ids(*ids)
        assert source.ids == ids
        assert source.statuses == [200]
