"""GET /history, POST /ack, GET /unread, and the health of a worker."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from pushsvc.storage.redis.keys import ALONE as keys
from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.stack import Stack


def history(stack: Stack, user: str, **params: Any) -> Any:
    answer = stack.get("/history", stack.bearer(user), channel=f"user:{user}", **params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def fill(stack: Stack, user: str, count: int) -> list[str]:
    return stack.publish_many([{"user": user, "event": "n", "data": str(number)} for number in range(count)])


@pytest.mark.every_redis
def test_paging_forward_and_back(stack: Stack, user: str) -> None:
    ids = fill(stack, user, 25)
    forward: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = history(stack, user, limit=10, **cursor)
        forward += [event["id"] for event in page["events"]]
        if page["next"] is None:
            break
        cursor = {"after": page["next"]}
    assert forward == ids
    backward: list[str] = []
    cursor = {"before": f"{10**15}-0"}
    while True:
        page = history(stack, user, limit=10, **cursor)
        backward = [event["id"] for event in page["events"]] + backward
        if page["next"] is None:
            break
        cursor = {"before": page["next"]}
    assert backward == ids
    between = history(stack, user, after=ids[3], before=ids[7])["events"]
    assert [event["id"] for event in between] == ids[4:7]
    assert between[0] == {"id": ids[4], "event": "n", "data": "4"}


@pytest.mark.parametrize("smallest", ["0-0", "0-1", "1-0"])
def test_nothing_is_before_the_smallest_ids(stack: Stack, user: str, smallest: str) -> None:
    ids = fill(stack, user, 2)
    assert history(stack, user, before=smallest) == {"events": [], "next": None}
    assert history(stack, user, after="0-0", before=smallest)["events"] == []
    assert [event["id"] for event in history(stack, user, after=smallest)["events"]] == ids


def test_everything_is_before_the_largest_id(stack: Stack, user: str) -> None:
    ids = fill(stack, user, 2)
    largest = f"{2**64 - 1}-{2**64 - 1}"
    assert [event["id"] for event in history(stack, user, before=largest)["events"]] == ids


def test_an_exact_page_has_no_next(stack: Stack, user: str) -> None:
    fill(stack, user, 10)
    assert history(stack, user, limit=10)["next"] is None
    assert history(stack, user, limit=10, before=f"{10**15}-0")["next"] is None


def test_long_poll_is_answered_by_the_next_event(stack: Stack, user: str) -> None:
    first = fill(stack, user, 1)[0]
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(history(stack, user, after=first, wait=20)))
    waiting.start()
    channel = keys.log(f"user:{user}")
    until(lambda: stack.redis.pubsub_shardnumsub(channel)[0][1], "the subscription")
    second = stack.publish(user=user, event="n", data="now")
    waiting.join()
    assert answers == [{"events": [{"id": second, "event": "n", "data": "now"}], "next": None}]


@pytest.mark.every_redis
def test_long_poll_without_an_event_ends_empty(stack: Stack, user: str) -> None:
    first = fill(stack, user, 1)[0]
    assert history(stack, user, after=first, wait=1) == {"events": [], "next": None}
    assert history(stack, user, wait=1)["events"], "what is there already is not waited for"


def test_long_polls_count_as_connections(shared: Start, user: str) -> None:
    stack = shared(workers=1, max_connections_per_user=1)
    first = fill(stack, user, 1)[0]
    with stack.listen(user):
        poll = stack.get("/history", stack.bearer(user), channel=f"user:{user}", after=first, wait=5)
        assert poll.status_code == 429


@pytest.mark.every_redis
def test_a_long_poll_passes_over_the_dead(stack: Stack, user: str) -> None:
    first = fill(stack, user, 1)[0]
    stack.publish_many([{"user": user, "data": "dead", "ttl": 1}] * 3)
    until(lambda: not history(stack, user, after=first)["events"], "the ttl to end")
    last = stack.publish(user=user, event="n", data="alive")
    page = history(stack, user, after=first, limit=2, wait=20)
    while not page["events"]:
        page = history(stack, user, after=page["next"], limit=2, wait=20)
    assert [event["id"] for event in page["events"]] == [last]


def test_a_gap_in_history_is_said(start: Start, user: str) -> None:
    stack = start(workers=1, keep_events=5)
    ids = fill(stack, user, 10)
    trimmed = history(stack, user, after=ids[1])
    assert [event["id"] for event in trimmed["events"]] == ids[5:]
    assert trimmed["gap"] == {"requested": ids[1], "oldest": ids[5], "reason": "trimmed"}
    assert "gap" not in history(stack, user, after=ids[4])
    assert history(stack, user, after="1-1")["gap"]["reason"] == "reset"
    assert "gap" not in history(stack, user)


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, "channel"),
        ({"channel": "nobody"}, "channel"),
        ({"channel": "user:a b"}, "channel"),
        ({"channel": "all", "after": "x"}, "after"),
        ({"channel": "all", "before": "1-"}, "before"),
        ({"channel": "all", "limit": "0"}, "limit"),
        ({"channel": "all", "limit": "1001"}, "limit"),
        ({"channel": "all", "limit": "٣"}, "limit"),
        ({"channel": "all", "wait": "-1"}, "wait"),
        ({"channel": "all", "wait": "9" * 4500}, "wait"),
    ],
)
def test_bad_parameters_are_named(stack: Stack, user: str, params: dict[str, str], field: str) -> None:
    answer = stack.get("/history", stack.bearer(user, subscribe=["*"]), **params)
    assert (answer.status_code, [*answer.json()["errors"]]) == (400, [field])


@pytest.mark.every_redis
@pytest.mark.every_script
def test_unread_counts_and_ack_moves(stack: Stack, user: str) -> None:
    headers = stack.bearer(user)
    to_all = stack.get("/unread", headers).json()["unread"]  # what other tests said to all
    ids = fill(stack, user, 5)
    assert stack.get("/unread", headers).json() == {"unread": to_all + 5, "id": None}
    answer = stack.post("/ack", {"id": ids[2]}, headers).json()
    assert answer == {"unread": 2, "id": ids[2]}
    assert stack.get("/unread", headers).json() == answer


@pytest.mark.every_redis
@pytest.mark.parametrize("body", [{}, {"id": 5}, {"id": "x"}, {"id": None}, {"id": "99999999999999-0"}, {"ids": "1-1"}])
def test_bad_acks_name_the_field(stack: Stack, user: str, body: dict[str, Any]) -> None:
    answer = stack.post("/ack", body, stack.bearer(user))
    assert answer.status_code == 400
    assert [*answer.json()["errors"]] == [next(iter(body), "id")]


@pytest.mark.every_redis
def test_health(stack: Stack, base: str) -> None:
    assert httpx.get(f"{base}/healthz", trust_env=False).json() == {"status": "alive"}
    until(lambda: httpx.get(f"{base}/readyz", trust_env=False).json() == {"status": "ready"}, "it to be ready")


def test_large_events_come_in_small_pages(stack: Stack, user: str) -> None:
    """A page of a thousand large events would be 64 MB, which a client that does not read has somebody hold."""
    data = "x" * 60_000
    ids = [id for _ in range(3) for id in stack.publish_many([{"user": user, "data": data}] * 15)]
    forward: list[str] = []
    after: dict[str, str] = {}
    pages = 0
    while True:
        page = history(stack, user, limit=1000, **after)
        assert len(page["events"]) * len(data) < 2 * 2**20
        forward += [event["id"] for event in page["events"]]
        pages += 1
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert forward == ids
    assert pages > 2
    backward: list[str] = []
    before: str | None = f"{int(ids[-1].split('-')[0]) + 1}-0"
    while before is not None:
        page = history(stack, user, limit=1000, before=before)
        assert len(page["events"]) * len(data) < 2 * 2**20
        backward = [event["id"] for event in page["events"]] + backward
        before = page["next"]
    assert backward == ids


def test_what_was_counted_is_not_read_again(start: Start, user: str) -> None:
    stack = start(workers=1, keep_events=1000)
    fill(stack, user, 1000)
    headers = stack.bearer(user)

    def reads() -> int:
        return int(stack.redis.info("commandstats")["cmdstat_xrange"]["calls"])

    before = reads()
    assert stack.get("/unread", headers).json()["unread"] == 1000
    once = reads() - before
    fill(stack, user, 3)  # three old ones are trimmed
    assert stack.get("/unread", headers).json()["unread"] == 1000
    assert reads() - before - once < once
    ids = fill(stack, user, 2)
    assert stack.post("/ack", {"id": ids[0]}, headers).json() == {"unread": 1, "id": ids[0]}
    stack.publish(user=user, data="short", ttl=1)
    assert stack.get("/unread", headers).json()["unread"] == 2
    until(lambda: stack.get("/unread", headers).json()["unread"] == 1, "the short one to end")
    stack.redis.flushall()
    assert stack.get("/unread", headers).json()["unread"] == 0
