"""Readers who bring no cursor after Redis has lost data: nobody knows what they had, so they are told that something
may be gone; once, and not for ever."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pushsvc.events.event import BEGINNING, EventId
from pushsvc.storage.log import EventLog
from pushsvc.storage.redis.client import RedisClient, connect
from pushsvc.storage.redis.epochs import EpochHistory
from pushsvc.storage.redis.keys import ALONE as keys
from pushsvc.storage.redis.keys import Keys
from pushsvc.storage.retention import Retention
from tests.support.clients.eventsource import EventSource, until
from tests.support.inside.lives import heard
from tests.support.redis.restored import backup, put_back, restart, without_redis
from tests.support.stack import Stack


@pytest.fixture(scope="module", params=["", "gevent"], ids=["detached", "queue"])
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    # One worker: another would tell who is there, too, once it notices by itself.
    running = Stack(tmp_path_factory.mktemp("newcomers"), worker=request.param, workers=1)
    yield running
    running.stop()
    assert "Traceback" not in running.output, running.output


def lose_all(stack: Stack) -> None:
    """Lose all data by FLUSHALL, and wait until a worker has noticed."""
    stack.publish(user="somebody")
    stack.redis.flushall()
    until(lambda: stack.redis.exists(keys.loss), "the loss to be noted")


def tab(stack: Stack, user: str, query: str = "", **options: Any) -> EventSource:
    return stack.listen(user, query, base=stack.app_url, **options)


def unread(stack: Stack, user: str) -> Any:
    return stack.get("/unread", stack.bearer(user)).json()


def history(stack: Stack, user: str, **given: Any) -> Any:
    return stack.get("/history", stack.bearer(user), channel=f"user:{user}", **given).json()


def test_a_fresh_redis_has_lost_nothing(stack: Stack, user: str) -> None:
    assert history(stack, user) == {"events": [], "next": None}
    assert unread(stack, user) == {"unread": 0, "id": None}
    with tab(stack, user) as source:
        stack.publish(user=user, data="first")
        source.wait_for(1)
        assert heard(source) == ["first"]


def test_a_flushall_is_said_to_a_new_tab_once(stack: Stack, user: str) -> None:
    stack.publish(user=user, data="lost")
    lose_all(stack)
    told = {"requested": None, "oldest": None, "reason": "reset"}
    for _ in range(2):  # these change nothing
        assert unread(stack, user) == {"unread": 0, "id": None, "gap": told}
        assert history(stack, user) == {"events": [], "next": None, "gap": told}
    kept = stack.publish(user=user, data="kept")
    assert unread(stack, user)["gap"] == history(stack, user)["gap"] == told | {"oldest": kept}
    with tab(stack, user) as source:
        source.wait_ids(kept)
        assert heard(source) == ["reset", "kept"]
        assert source.cursors[0] == "0-0"
        gap = source.messages[0]
        assert json.loads(gap.data) == told | {"oldest": kept}
        assert BEGINNING < EventId.parse(gap.id) < EventId.parse(kept)
    until(lambda: unread(stack, user)["id"] == kept, "the position")
    assert "gap" not in unread(stack, user)
    later = stack.publish(user=user, data="later")
    with tab(stack, user) as source:
        source.wait_ids(later)
        assert heard(source) == ["later"]
    assert "gap" not in history(stack, user)


def test_who_hears_nothing_else_is_told_once_too(stack: Stack, user: str) -> None:
    lose_all(stack)
    with tab(stack, user) as source:
        source.wait_for(1)
        gap = source.messages[0].id
    until(lambda: unread(stack, user)["id"] == gap, "the position")
    with tab(stack, user) as source, tab(stack, user, headers={"Last-Event-ID": gap}) as same:
        only = stack.publish(user=user, data="only")
        for each in (source, same):
            each.wait_ids(only)
            assert heard(each) == ["only"]


def test_who_acknowledges_by_hand_is_told_until_then(stack: Stack, user: str) -> None:
    lose_all(stack)
    for _ in range(2):
        with tab(stack, user, "?ack=manual") as source:
            source.wait_for(1)
            assert heard(source) == ["reset"]
            gap = source.messages[0].id
    stack.post("/ack", {"id": gap}, stack.bearer(user))
    with tab(stack, user, "?ack=manual") as source:
        stack.publish(user=user, data="only")
        source.wait_for(1)
        assert heard(source) == ["only"]


@pytest.mark.parametrize("since", ["now", "earliest"])
def test_who_does_not_ask_for_what_was_is_not_told(stack: Stack, user: str, since: str) -> None:
    lose_all(stack)
    with tab(stack, user, f"?since={since}") as source:
        stack.publish(user=user, data="only")
        source.wait_for(1)
        assert heard(source) == ["only"]


def test_a_first_cursor_is_no_answer_to_it(stack: Stack, user: str) -> None:
    """The stream that gave it broke before the gap came, so the gap is told when the cursor is brought."""
    lose_all(stack)
    with tab(stack, user, headers={"Last-Event-ID": "0-0"}) as source:
        source.wait_for(1)
        assert heard(source) == ["reset"]


def test_a_long_poll_says_it_with_the_next_event(stack: Stack, user: str) -> None:
    """It does not say so earlier: a client that has no place to go on from would ask again at once."""
    lose_all(stack)
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(history(stack, user, wait=20)))
    waiting.start()
    until(lambda: stack.redis.pubsub_shardnumsub(keys.log(f"user:{user}"))[0][1], "the subscription")
    event = stack.publish(user=user, data="next")
    waiting.join()
    assert [each["id"] for each in answers[0]["events"]] == [event]
    assert answers[0]["gap"] == {"requested": None, "oldest": event, "reason": "reset"}


def test_a_long_poll_after_a_loss_goes_on_from_behind_it(stack: Stack, user: str) -> None:
    had = stack.publish(user=user, data="had")
    lose_all(stack)
    page = history(stack, user, after=had, wait=20)
    assert (page["events"], page["gap"]["reason"]) == ([], "reset")
    assert history(stack, user, after=page["next"], wait=1) == {"events": [], "next": None}


def test_it_is_said_no_longer_than_the_lost_would_have_been_kept(stack: Stack, user: str) -> None:
    lose_all(stack)
    assert 0 < stack.redis.ttl(keys.loss) <= 604800  # KEEP_SECONDS
    stack.redis.delete(keys.loss)  # as if they were over
    with tab(stack, user) as source:
        stack.publish(user=user, data="first")
        source.wait_for(1)
        assert heard(source) == ["first"]
    assert "gap" not in unread(stack, f"{user}-other")


def test_what_a_backup_lacks_is_said_to_a_new_tab_where_it_was(stack: Stack, user: str, tmp_path: Path) -> None:
    lose_all(stack)
    stack.redis.delete(keys.loss)
    kept = stack.publish(user=user, data="kept")
    backup(stack, tmp_path / "backup")
    stack.publish(user=user, data="lost")
    with without_redis(stack) as data:
        put_back(tmp_path / "backup", data)
    until(lambda: stack.redis.exists(keys.loss), "the loss to be noted")
    assert unread(stack, user)["gap"] == {"requested": None, "oldest": kept, "reason": "reset"}
    after = stack.publish(user=user, data="after")
    with tab(stack, user) as source:
        source.wait_ids(after)
        assert heard(source) == ["kept", "reset", "after"]
    until(lambda: unread(stack, user)["id"] == after, "the position")
    restart(stack)
    with tab(stack, user) as source:
        stack.publish(user=user, data="later")
        source.wait_for(1)
        assert heard(source) == ["later"]
    silent = f"{user}-silent"
    for says in (["reset"], []):
        with tab(stack, silent) as source:
            source.wait_for(len(says))
            assert heard(source) == says
        until(lambda: unread(stack, silent)["id"] is not None, "the position")


@pytest.mark.parametrize(
    ("epochs", "boundary", "noted", "loss"),
    [
        ("1-0 5-0 9-0", ("5-0", "9-0"), "1-0 5-0 9-0!", b"9-0"),
        ("1-0 5-0 9-0!", ("5-0", "9-0"), "1-0 5-0 9-0!", None),
        ("1-0 5-0 9-0 12-0 15-0", ("5-0", "9-0"), "1-0 5-0 9-0! 12-0 15-0", b"9-0"),
        ("1-0 15-0 19-0", ("5-0", "19-0"), "1-0 15-0 19-0", None),
        ("1-0", ("0-0", "1-0"), "1-0", b"1-0"),
        ("1-0 10-0 12-0", ("0-0", "12-0"), "1-0 10-0 12-0", b"12-0"),
    ],
)
def test_a_loss_is_noted_once(
    stack: Stack, epochs: str, boundary: tuple[str, str], noted: str, loss: bytes | None
) -> None:
    own = Keys(0, 1, "noted-once")  # the stack's workers note losses of their own
    stack.redis.delete(own.loss)
    stack.redis.set(own.epoch, epochs)
    with connect_to(stack) as client:
        log = EventLog(RedisClient(client, own), Retention(keep_events=10, keep_seconds=60, dedupe_seconds=60))
        log.record_loss((EventId.parse(boundary[0], "last"), EventId.parse(boundary[1], "first")))
    assert stack.redis.get(own.epoch) == noted.encode()
    assert stack.redis.get(own.loss) == loss
    assert EpochHistory(noted.encode()).birth == EventId(1, 0)


def connect_to(stack: Stack) -> Any:
    return connect(f"unix://{stack.data_dir}/valkey.sock")
