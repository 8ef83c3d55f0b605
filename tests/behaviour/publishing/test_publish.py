"""POST /publish, as the contract has it: targets, batches, keys, ttl, and every refusal."""

from __future__ import annotations

import socket
import threading
from typing import Any

import httpx
import pytest

from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.stack import Stack


def publisher(stack: Stack) -> dict[str, str]:
    return stack.bearer(publish=["*"])


@pytest.mark.every_redis
@pytest.mark.every_script
def test_each_target_reaches_its_listeners(stack: Stack, user: str) -> None:
    other = f"{user}-other"
    with stack.listen(user, f"?topics={user}.news") as source, stack.listen(other) as bystander:
        ids = stack.publish_many(
            [
                {"user": user, "event": "order.paid", "data": {"id": 7, "größe": [1.5, None]}},
                {"topic": f"{user}.news", "data": "two\nlines"},
                {"all": True, "data": f"to all, from {user}"},
            ]
        )
        source.wait_ids(*ids)
        mine = [message for message in source.messages if message.id in ids]
        assert [(message.id, message.event, message.data) for message in mine] == [
            (ids[0], "order.paid", '{"id":7,"größe":[1.5,null]}'),
            (ids[1], "message", "two\nlines"),
            (ids[2], "message", f"to all, from {user}"),
        ]
        bystander.wait(lambda each: f"to all, from {user}" in each.data, "what is for all")
        assert not {mine[0].data, mine[1].data} & set(bystander.data)


@pytest.mark.every_redis
def test_many_users_get_one_event_each(stack: Stack, user: str) -> None:
    users = [f"{user}-{n}" for n in range(3)]
    answer = stack.post("/publish", {"users": users, "data": "x", "key": "k"}, publisher(stack)).json()
    assert [(result["user"], result["duplicate"]) for result in answer["results"]] == [(name, False) for name in users]
    again = stack.post("/publish", {"users": [*users, user], "data": "x", "key": "k"}, publisher(stack)).json()
    assert [result["duplicate"] for result in again["results"]] == [True, True, True, False]
    assert [result["id"] for result in again["results"]][:3] == [result["id"] for result in answer["results"]]


@pytest.mark.every_redis
@pytest.mark.every_script
def test_a_repeated_key_answers_the_first_id_and_delivers_nothing(stack: Stack, user: str) -> None:
    first = stack.post("/publish", {"user": user, "data": "1", "key": "k"}, publisher(stack)).json()
    header = publisher(stack) | {"Idempotency-Key": "k"}
    again = stack.post("/publish", {"user": user, "data": "2"}, header).json()
    assert again == {"id": first["id"], "duplicate": True}
    other_channel = stack.post("/publish", {"topic": user, "data": "3", "key": "k"}, publisher(stack)).json()
    assert other_channel["duplicate"] is False
    last = stack.publish(user=user, data="4")
    with stack.listen(user) as source:
        source.wait_ids(last)
        assert [message.data for message in source.messages if message.event == "message"][-2:] == ["1", "4"]


@pytest.mark.every_redis
def test_twenty_racing_publishes_of_one_key_make_one_event(stack: Stack, user: str) -> None:
    answers: list[dict[str, Any]] = []
    barrier = threading.Barrier(20)

    def race() -> None:
        with httpx.Client(trust_env=False) as client:
            client.get(f"{stack.url}/healthz")  # connected, so that the race is in the publish
            barrier.wait()
            body = {"user": user, "data": "once", "key": "race"}
            answers.append(client.post(f"{stack.url}/publish", json=body, headers=publisher(stack)).json())

    threads = [threading.Thread(target=race) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer["id"] for answer in answers}) == 1
    assert sorted(answer["duplicate"] for answer in answers) == [False] + [True] * 19
    history = stack.get("/history", stack.bearer(user), channel=f"user:{user}").json()
    assert [event["data"] for event in history["events"]] == ["once"]


@pytest.mark.every_redis
def test_a_bad_item_in_a_batch_harms_no_other(stack: Stack, user: str) -> None:
    only_mine = stack.bearer(publish=[f"user:{user}*"])
    items = [
        {"user": user, "data": 1},
        {"user": "no spaces", "data": 2},
        {"user": user, "topic": "both", "data": 3},
        17,
        {"user": "foreign", "data": 4},
        {"user": user, "data": "x" * 70_000},
        {"users": [user, f"{user}2"], "data": 5},
    ]
    results = stack.post("/publish", items, only_mine).json()["results"]
    assert [result.get("error", {}).get("status") for result in results] == [None, 400, 400, 400, 403, 413, None]
    assert results[1]["error"]["errors"].keys() == {"user"}
    assert len(results[6]["results"]) == 2
    kept = stack.get("/history", stack.bearer(user), channel=f"user:{user}").json()["events"]
    assert [event["data"] for event in kept] == ["1", "5"]


@pytest.mark.every_redis
@pytest.mark.every_script
def test_an_event_past_its_ttl_is_not_delivered_and_no_gap(stack: Stack, user: str) -> None:
    before = stack.publish(user=user, data="before")
    stack.publish(user=user, data="short-lived", ttl=1)
    stack.publish(user=user, data="long-lived", ttl=600)

    def gone() -> bool:
        events = stack.get("/history", stack.bearer(user), channel=f"user:{user}").json()["events"]
        return [event["data"] for event in events] == ["before", "long-lived"]

    until(gone, "the ttl to end")
    assert stack.get("/unread", stack.bearer(user)).json()["unread"] >= 2
    with stack.listen(user, f"?last_event_id={before}") as source:
        mine = source.wait(lambda source: "long-lived" in source.data, "the long-lived event").messages
        assert "short-lived" not in source.data
        assert all(message.event != "gap" for message in mine)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"user": "a", "topic": "b", "data": 1}, 400, "user"),
        ({"data": 1}, 400, "user"),
        ({"user": "a b", "data": 1}, 400, "user"),
        ({"user": 7, "data": 1}, 400, "user"),
        ({"all": False, "data": 1}, 400, "all"),
        ({"user": "a"}, 400, "data"),
        ({"user": "a", "data": 1, "event": "x\ny"}, 400, "event"),
        ({"user": "a", "data": 1, "event": "x\ry"}, 400, "event"),
        ({"user": "a", "data": 1, "event": "gap"}, 400, "event"),
        ({"user": "a", "data": 1, "event": ""}, 400, "event"),
        ({"user": "a", "data": 1, "ttl": 0}, 400, "ttl"),
        ({"user": "a", "data": 1, "ttl": True}, 400, "ttl"),
        ({"user": "a", "data": 1, "ttl": 1.5}, 400, "ttl"),
        ({"user": "a", "data": 1, "key": ""}, 400, "key"),
        ({"user": "a", "data": 1, "key": 5}, 400, "key"),
        ({"user": "a", "data": 1, "tttl": 5}, 400, "tttl"),
        ({"users": [], "data": 1}, 400, "users"),
        ({"users": ["a", "a"], "data": 1}, 400, "users"),
        ({"users": [f"u{n}" for n in range(1001)], "data": 1}, 413, "users"),
        ({"user": "a", "data": "x" * 65537}, 413, "data"),
        ({"user": "a", "data": "ä" * 32769}, 413, "data"),
    ],
)
def test_a_refusal_names_the_field(stack: Stack, body: dict[str, Any], status: int, field: str) -> None:
    answer = stack.post("/publish", body, publisher(stack))
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert {"type", "title", "detail"} <= problem.keys()
    assert field in problem["errors"]


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"user":"a","data":"\\ud800"}', "application/json", 400),
        (b'{"user":"a","data":NaN}', "application/json", 400),
        (b'{"user":"a","data":' + b"[" * 300 + b"]" * 300 + b"}", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b'"text"', "application/json", 400),
        (b'{"user":"a","data":1}', "text/plain", 415),
        (b"user=a", "application/x-www-form-urlencoded", 415),
        (b'[{"user":"a","data":1}' + b',{"user":"a","data":1}' * 1000 + b"]", "application/json", 413),
        (b" " * (65 * 2**20), "application/json", 413),
    ],
)
def test_a_body_that_is_no_event_is_refused(
    stack: Stack, base: str, content: bytes, content_type: str, status: int
) -> None:
    headers = publisher(stack) | {"Content-Type": content_type}
    answer = httpx.post(f"{base}/publish", content=content, headers=headers, trust_env=False, timeout=30)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


def test_lists_of_users_do_not_multiply_a_batch_past_its_limit(stack: Stack, user: str) -> None:
    users = [f"{user}-{n}" for n in range(501)]
    answer = stack.post("/publish", [{"users": users, "data": 1}] * 2, publisher(stack))
    assert answer.status_code == 413
    assert stack.get("/history", stack.bearer(users[0]), channel=f"user:{users[0]}").json()["events"] == []


@pytest.mark.parametrize("body", [b"zz\r\n", b"5\r\nabc"])
def test_a_body_that_breaks_off_is_refused(stack: Stack, base: str, body: bytes) -> None:
    host, _, port = base.removeprefix("http://").partition(":")
    bearer = publisher(stack)["Authorization"]
    head = f"POST /publish HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port)), timeout=40) as raw:
        raw.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        raw.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert not answer or b" 400 " in answer.partition(b"\r\n")[0]


def test_a_key_in_header_and_body_must_agree(stack: Stack, user: str) -> None:
    header = publisher(stack) | {"Idempotency-Key": "one"}
    differing = stack.post("/publish", {"user": user, "data": 1, "key": "two"}, header)
    assert (differing.status_code, [*differing.json()["errors"]]) == (400, ["key"])
    batch = stack.post("/publish", [{"user": user, "data": 1}], header)
    assert (batch.status_code, [*batch.json()["errors"]]) == (400, ["Idempotency-Key"])
    assert stack.post("/publish", {"user": user, "data": 1, "key": "one"}, header).status_code == 200


def test_ids_rise_over_all_channels(stack: Stack, user: str) -> None:
    ids = stack.publish_many([{"user": f"{user}-{n % 7}", "data": n} for n in range(200)])
    numbers = [tuple(map(int, event_id.split("-"))) for event_id in ids]
    assert numbers == sorted(set(numbers))


def test_unknown_paths_and_methods_are_problems(stack: Stack, base: str) -> None:
    missing = httpx.get(f"{base}/nothing%0d%0ahere", trust_env=False)
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
    wrong = httpx.put(f"{base}/publish", trust_env=False)
    assert (wrong.status_code, {*wrong.headers["allow"].split(", ")}) == (405, {"OPTIONS", "POST"})


def test_a_user_with_one_waiting_event_takes_less_than_a_kilobyte(stack: Stack, user: str) -> None:
    def used() -> int:
        memory: int = stack.redis.info("memory")["used_memory"]
        return memory

    stack.publish(user=f"{user}-first", data="x" * 100)
    before = used()
    for page in range(5):
        stack.publish_many([{"user": f"{user}-{page}-{n}", "data": "x" * 100} for n in range(1000)])
    assert (used() - before) / 5000 < 1024


def test_a_ttl_counts_from_now_also_after_the_clock_was_set_back(start: Start, user: str) -> None:
    """Ids never fall: after a step back they are ahead of the clock, here by an hour."""
    stack = start(workers=1)
    stack.publish(user=user, data="before")
    ahead = int(stack.redis.time()[0] + 3600) * 1000
    stack.redis.xadd(stack.keys_of(user).clock, {"": ""}, id=f"{ahead}-0", maxlen=1)
    event_id = stack.publish(user=user, data="short", ttl=1)
    assert event_id.startswith(str(ahead))

    def kept() -> list[str]:
        return [event["data"] for event in stack.kept(user)]

    assert kept() == ["before", "short"]
    until(lambda: kept() == ["before"], "the event to be over")
