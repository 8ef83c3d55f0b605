"""Rates: what is over them is refused for now, on all workers and hosts, and what was refused does not count."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.redis.servers import Cluster
from tests.support.stack import Stack

PUBLISH, CONNECT, ASK, TOPICS = 5, 3, 2, 3


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(
        tmp_path_factory.mktemp("rated"),
        workers=2,
        rate_publish=f"1000 per second; {PUBLISH} per hour",
        rate_connect=f"{CONNECT} per hour",
        rate_ask=f"{ASK} per hour",
        rate_topics=f"1000 per second; {TOPICS} per hour",
    )
    yield running
    running.stop()
    assert "Traceback" not in running.output, running.output


def opened(stack: Stack, headers: dict[str, str], path: str = "/events") -> httpx.Response:
    """The first part of the answer, and all of it if it ends."""
    with httpx.stream("GET", f"{stack.url}{path}", headers=headers, trust_env=False, timeout=30) as response:
        came = b""
        try:
            for piece in response.iter_raw():
                came += piece
                if b"\n\n" in came:
                    break
        except httpx.RemoteProtocolError:
            pass  # cut, so that all clients come back
        return httpx.Response(response.status_code, headers=response.headers, content=came, request=response.request)


def told(answer: httpx.Response) -> dict[str, Any]:
    """The problem in the event `refused`."""
    fields = dict(line.split(": ", 1) for line in answer.text.strip().splitlines())
    assert answer.status_code == 200
    assert fields["event"] == "refused"
    assert int(fields["retry"]) > 0
    problem: dict[str, Any] = json.loads(fields["data"])
    return problem


def is_over(answer: httpx.Response, setting: str, words: str) -> None:
    seconds = int(answer.headers["retry-after"])
    assert answer.status_code == 429
    assert 0 < seconds <= 2 * 3600
    assert f"PUSHSVC_{setting} allows {words}; try again in {seconds} s." in answer.text


def test_connects_count_over_all_workers_and_an_eventsource_is_told(rated: Stack) -> None:
    caller = rated.bearer("often")
    for _ in range(CONNECT):
        assert b"event: cursor" in opened(rated, caller).content
    for _ in range(2 * CONNECT):
        is_over(opened(rated, caller), "RATE_CONNECT", f"{CONNECT} per hour")
    problem = told(opened(rated, caller | {"Accept": "text/event-stream"}))
    assert problem["status"] == 429
    assert "RATE_CONNECT" in problem["detail"]
    assert b"event: cursor" in opened(rated, rated.bearer("seldom")).content


def test_what_was_refused_for_another_reason_does_not_count(rated: Stack) -> None:
    caller = rated.bearer("mistaken")
    for _ in range(2 * CONNECT):
        assert opened(rated, caller, "/events?topics=secret").status_code == 403
        assert opened(rated, caller, "/events?since=never").status_code == 400
    assert b"event: cursor" in opened(rated, caller).content


def test_publishing_counts_events_by_token(rated: Stack) -> None:
    caller = rated.bearer("backend", publish=["*"])
    item = {"user": "alice", "data": "-"}
    assert rated.post("/publish", [item] * (PUBLISH - 1), caller).status_code == 200
    is_over(rated.post("/publish", [item] * 2, caller), "RATE_PUBLISH", f"{PUBLISH} per hour")
    assert rated.post("/publish", {"data": "-", "user": "a"}, caller).status_code == 200  # the two did not count
    is_over(rated.post("/publish", item, caller), "RATE_PUBLISH", f"{PUBLISH} per hour")
    another = rated.bearer("backend", publish=["user:*"])
    assert rated.post("/publish", item, another).status_code == 200


def test_so_many_events_as_never_pass_are_too_many(rated: Stack) -> None:
    caller = rated.bearer("bulk", publish=["*"])
    refused = rated.post("/publish", [{"user": "alice", "data": "-"}] * (PUBLISH + 1), caller)
    assert refused.status_code == 413
    assert f"PUSHSVC_RATE_PUBLISH allows {PUBLISH} at once; this makes {PUBLISH + 1}." in refused.text


def test_a_stream_of_events_goes_on_after_a_line_over_the_rate(rated: Stack) -> None:
    caller = rated.bearer("lines", publish=["*"]) | {"Content-Type": "application/x-ndjson"}
    lines = b'{"user":"alice","data":"-"}\n' * (PUBLISH + 3) + b"[]\n"
    answer = httpx.post(f"{rated.url}/publish", content=lines, headers=caller, trust_env=False, timeout=30)
    *answers, bad = [json.loads(line) for line in answer.text.splitlines()]
    assert ["id" in each for each in answers] == [True] * PUBLISH + [False] * 3
    assert {each["error"]["status"] for each in answers[PUBLISH:]} == {429}
    assert bad["error"]["status"] == 400


def test_new_topics_count_by_user_and_for_the_event_alone(rated: Stack) -> None:
    def caller() -> dict[str, str]:  # another token each time
        return rated.bearer("maker", publish=["topic:*", "user:*"], jti=str(uuid.uuid4()))

    made = [{"topic": f"made-{number}", "data": "-"} for number in range(TOPICS + 1)]
    answers = rated.post("/publish", [made[0], made[0], {"user": "alice", "data": "-"}, made[1]], caller())
    assert all("id" in each for each in answers.json()["results"])
    assert rated.post("/publish", made[2] | {"key": "k"}, caller()).status_code == 200
    is_over(rated.post("/publish", made[3], caller()), "RATE_TOPICS", f"{TOPICS} per hour")
    mixed = rated.post("/publish", [made[3], made[0]], caller()).json()["results"]
    assert [each.get("error", {}).get("status") for each in mixed] == [429, None]
    lines = "".join(f"{json.dumps(each)}\n" for each in (made[3], made[0]))
    kind = {"Content-Type": "application/x-ndjson"}
    answer = httpx.post(f"{rated.url}/publish", content=lines, headers=caller() | kind, trust_env=False, timeout=30)
    assert [json.loads(line).get("error", {}).get("status") for line in answer.text.splitlines()] == [429, None]
    assert rated.post("/publish", made[3], rated.bearer("another", publish=["topic:*"])).status_code == 200
    for number in range(TOPICS + 1):  # a backend may have a topic for each order
        order = {"topic": f"order-{number}", "data": "-"}
        assert rated.post("/publish", order, rated.bearer(f"b{number % 2}", publish=["*"])).status_code == 200


def test_questions_count_by_user(rated: Stack) -> None:
    question = {"messages": [{"role": "user", "content": "Hello"}]}
    caller = rated.bearer("asker")
    assert rated.post("/v1/generations", question, caller).status_code == 202
    assert rated.post("/v1/chat/completions", question, caller).status_code == 200
    for path in ("/v1/generations", "/v1/chat/completions"):
        is_over(rated.post(path, question, caller), "RATE_ASK", f"{ASK} per hour")
    assert rated.post("/v1/chat/completions", question, caller).json()["error"]["type"] == "rate_limit_error"


def test_two_hosts_on_one_redis_count_together(start: Start) -> None:
    first = start(workers=1, rate_connect="2 per hour")
    second = start(workers=1, rate_connect="2 per hour", redis_url=f"unix://{first.data_dir}/valkey.sock")
    for stack in (first, second):
        assert b"event: cursor" in opened(stack, stack.bearer("alice")).content
    for stack in (first, second):
        is_over(opened(stack, stack.bearer("alice")), "RATE_CONNECT", "2 per hour")


def test_a_refused_ticket_opens_later(start: Start) -> None:
    stack = start(workers=1, rate_connect="1 per 4 seconds")
    ticket = stack.post("/tickets", {}, stack.bearer("alice")).json()["ticket"]
    browser, path = {"Accept": "text/event-stream"}, f"/events?ticket={ticket}"
    assert b"event: cursor" in opened(stack, stack.bearer("alice")).content
    assert told(opened(stack, browser, path))["status"] == 429
    until(lambda: b"event: cursor" in opened(stack, browser, path).content, "the ticket's stream")


def test_what_redis_cannot_count_passes_and_the_log_says_so_once(start: Start) -> None:
    stack = start(workers=1, rate_connect="1 per hour", rate_topics="1 per hour")
    stack.redis.set(stack.keys_of("alice").rate("rate_connect", "alice"), "of another program")
    for _ in range(3):
        assert b"event: cursor" in opened(stack, stack.bearer("alice")).content
    assert stack.output.count("PUSHSVC_RATE_CONNECT is not kept") == 1
    stack.redis.set(stack.keys_of("alice").rate("rate_topics", "user:alice"), "of another program")
    for number in range(3):
        topic = {"topic": f"new{number}", "data": "-"}
        assert stack.post("/publish", topic, stack.bearer("alice", publish=["topic:*"])).status_code == 200
    assert stack.output.count("PUSHSVC_RATE_TOPICS is not kept") == 1


def test_a_full_redis_still_counts(start: Start) -> None:
    stack = start(workers=1, rate_connect="1 per hour", rate_publish="9 per hour")
    stack.redis.config_set("maxmemory", 1)
    assert b"event: cursor" in opened(stack, stack.bearer("alice")).content
    is_over(opened(stack, stack.bearer("alice")), "RATE_CONNECT", "1 per hour")
    publisher = stack.bearer("backend", publish=["*"])
    for _ in range(10):  # what is refused for want of memory does not count
        assert stack.post("/publish", {"user": "alice", "data": "-"}, publisher).status_code == 507


def test_unspent_tickets_are_bounded_by_user(start: Start) -> None:
    stack = start(workers=1, max_tickets_per_user=2)
    caller, browser = stack.bearer("alice"), {"Accept": "text/event-stream"}
    first = stack.post("/tickets", {"ttl": 600}, caller).json()["ticket"]
    assert stack.post("/tickets", {"ttl": 3600}, caller).status_code == 200
    refused = stack.post("/tickets", {}, caller)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 600
    assert "This user has 2 tickets that nobody has used" in refused.text
    assert stack.post("/tickets", {}, stack.bearer("bob")).status_code == 200
    assert b"event: cursor" in opened(stack, browser, f"/events?ticket={first}").content
    assert stack.post("/tickets", {"ttl": 1}, caller).status_code == 200  # in the place of the one that was spent
    until(lambda: stack.post("/tickets", {}, caller).status_code == 200, "the end of the short one")


def test_rates_of_a_cluster(start: Start, tmp_path: Path) -> None:
    """The counts of each user, and of each token, are in one partition, wherever their events go."""
    cluster = Cluster(tmp_path / "cluster", replicas=False)
    try:
        stack = start(workers=2, redis_url=cluster.url, rate_connect="1 per hour", rate_publish="2 per hour")
        for user in ("alice", "bob", "carol"):
            assert b"event: cursor" in opened(stack, stack.bearer(user)).content
            is_over(opened(stack, stack.bearer(user)), "RATE_CONNECT", "1 per hour")
            publisher = stack.bearer(user, publish=["*"])
            both = [{"user": each, "data": "-"} for each in ("alice", "bob")]
            assert stack.post("/publish", both, publisher).status_code == 200
            is_over(stack.post("/publish", {"topic": "news", "data": "-"}, publisher), "RATE_PUBLISH", "2 per hour")
        stack.stop()
    finally:
        cluster.stop()
