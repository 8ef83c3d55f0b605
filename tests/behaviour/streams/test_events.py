"""GET /events: replay and live without a seam, positions, gaps, heartbeats, refusals; with nginx and without."""

from __future__ import annotations

import socket
import threading

import httpx
import pytest

from pushsvc.events.event import EventId
from tests.conftest import Start
from tests.support.clients.eventsource import EventSource, Message, until
from tests.support.stack import Stack, connections, read_to_the_end


def of(user: str, messages: list[Message]) -> list[Message]:
    """The messages of this test; other tests may publish to all meanwhile."""
    return [message for message in messages if message.data.startswith(user) or message.event == "gap"]


def say(stack: Stack, user: str, *numbers: int) -> list[str]:
    return stack.publish_many([{"user": user, "data": f"{user} {number}"} for number in numbers])


@pytest.mark.every_redis
def test_head_of_a_stream(stack: Stack, base: str, user: str) -> None:
    with stack.listen(user, base=base) as source:
        assert source.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert source.headers["cache-control"] == "no-store, no-transform"
        assert source.headers["x-accel-buffering"] == "no"
        assert source.parser.retry_ms is not None
        assert 100 <= source.parser.retry_ms <= 300
        assert source.parser.comments == []


@pytest.mark.every_redis
def test_live_events_come_in_order(stack: Stack, base: str, user: str) -> None:
    with stack.listen(user, base=base) as source:
        ids = say(stack, user, *range(300))
        source.wait(lambda source: len(of(user, source.messages)) >= 300, "300 events")
        assert [message.id for message in of(user, source.messages)] == ids


@pytest.mark.every_redis
def test_resume_by_header_and_by_parameter(stack: Stack, base: str, user: str) -> None:
    ids = say(stack, user, *range(250))  # more than one page of a replay
    for options in ({"headers": {"Last-Event-ID": ids[9]}}, {"query": f"?last_event_id={ids[9]}"}):
        with stack.listen(user, base=base, **options) as source:
            source.wait(lambda source: len(of(user, source.messages)) >= 240, "the rest")
            more = say(stack, user, 999)
            source.wait_ids(more[0])
            assert [message.id for message in of(user, source.messages)] == ids[10:] + more
            ids += more


@pytest.mark.every_redis
def test_the_header_wins_over_the_parameter_of_an_old_url(stack: Stack, user: str) -> None:
    ids = say(stack, user, 1, 2, 3)
    with stack.listen(user, f"?last_event_id={ids[0]}", headers={"Last-Event-ID": ids[1]}) as source:
        source.wait_ids(ids[2])
        assert [message.id for message in of(user, source.messages)] == ids[2:]


@pytest.mark.every_redis
def test_since(stack: Stack, base: str, user: str) -> None:
    ids = say(stack, user, 1, 2)
    with stack.listen(user, "?since=now&ack=manual", base=base) as now:
        assert now.parser.last_event_id  # a break before the first event resumes here, not at a later "now"
        ids += say(stack, user, 3)
        now.wait_ids(ids[2])
        assert [message.id for message in of(user, now.messages)] == ids[2:]
    with stack.listen(user, "?since=earliest&ack=manual", base=base) as earliest:
        earliest.wait_ids(ids[2])
        assert [message.id for message in of(user, earliest.messages)] == ids


@pytest.mark.every_redis
def test_unread_is_what_was_not_delivered(stack: Stack, base: str, user: str) -> None:
    ids = say(stack, user, 1, 2)
    with stack.listen(user, base=base) as source:
        source.wait_ids(ids[1])
    until(lambda: stack.get("/unread", stack.bearer(user)).json()["id"] == ids[1], "the position to be written")
    until(lambda: connections(stack, user) == 0, "its end to be noticed")  # what is written before that counts as had
    ids += say(stack, user, 3, 4)
    with stack.listen(user, base=base) as source:
        source.wait_ids(ids[3])
        assert [message.id for message in of(user, source.messages)] == ids[2:]


@pytest.mark.every_redis
def test_manual_acknowledgement(stack: Stack, user: str) -> None:
    ids = say(stack, user, 1, 2, 3)
    with stack.listen(user, "?ack=manual") as source:
        source.wait_ids(ids[2])
    answer = stack.post("/ack", {"id": ids[0]}, stack.bearer(user))
    assert answer.status_code == 200
    assert answer.json()["id"] == ids[0]
    with stack.listen(user, "?ack=manual") as source:
        source.wait_ids(ids[2])
        assert [message.id for message in of(user, source.messages)] == ids[1:]
    stack.post("/ack", {"id": ids[2]}, stack.bearer(user))
    back = stack.post("/ack", {"id": ids[1]}, stack.bearer(user)).json()
    assert back["id"] == ids[2], "a position never moves back"


@pytest.mark.every_redis
def test_topics_are_followed_and_others_are_not(stack: Stack, base: str, user: str) -> None:
    with stack.listen(user, f"?topics={user}.a,{user}.b", base=base) as source:
        wanted = [stack.publish(topic=f"{user}.{name}", data=f"{user} {name}") for name in "ab"]
        stack.publish(topic=f"{user}.c", data=f"{user} c")
        wanted.append(stack.publish(user=user, data=f"{user} own"))
        source.wait_ids(wanted[-1])
        assert [message.id for message in of(user, source.messages)] == wanted


def test_the_seam_of_replay_and_live(stack: Stack, user: str) -> None:
    """Join again and again while publishers are at work: every join has every event, once, in order."""
    topics = [f"{user}.odd", f"{user}.even"]
    published: list[str] = []
    joined = threading.Event()

    def work(name: str) -> None:
        for number in range(250):  # in all less than a topic keeps
            published.append(stack.publish(topic=topics[number % 2], data=f"{user} {name} {number}"))
            if joined.is_set():
                break

    workers = [threading.Thread(target=work, args=(str(n),)) for n in range(3)]
    for worker in workers:
        worker.start()
    sources = []
    try:
        until(lambda: len(published) > 20, "some history")
        for number in range(15):
            sources.append(stack.listen(f"{user}-{number}", f"?topics={','.join(topics)}&since=earliest"))
        joined.set()
        for worker in workers:
            worker.join()
        order = sorted(published, key=EventId.parse)
        for source in sources:
            source.wait_ids(*published)
            assert [message.id for message in of(user, source.messages)] == order
    finally:
        joined.set()
        for source in sources:
            source.close()


@pytest.mark.every_redis
def test_heartbeats_to_the_silent(stack: Stack, base: str, user: str) -> None:
    with stack.listen(user, base=base) as source:
        source.wait(lambda source: source.parser.comments.count("") >= 2, "two heartbeats")
        assert not of(user, source.messages)


def test_a_full_worker(start: Start, user: str) -> None:
    stack = start(workers=1, max_connections=2)
    with stack.listen(user), stack.listen(user), stack.listen(user) as third:
        third.wait(lambda source: source.closed, "the refusal")
        assert (third.statuses, third.body, [each["status"] for each in third.refusals]) == ([200], b"", [503])


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("?last_event_id=abc", 400, "last_event_id"),
        ("?last_event_id=1", 400, "last_event_id"),
        ("?last_event_id=-1-1", 400, "last_event_id"),
        (f"?last_event_id={2**64}-0", 400, "last_event_id"),
        ("?since=yesterday", 400, "since"),
        ("?ack=maybe", 400, "ack"),
        ("?topics=a%0Ab", 400, "topics"),
        ("?topic=a", 400, "topic"),
        ("?channel=topic:a", 400, "channel"),
        ("?cursor=5-0", 400, "cursor"),
        ("?lasteventid=5-0", 400, "lasteventid"),
        ("?Topics=a", 400, "Topics"),
        ("?tickets=a", 400, "tickets"),
        ("?heartbeat=maybe", 400, "heartbeat"),
        ("?topics=" + ",".join(f"t{n}" for n in range(101)), 400, "topics"),
    ],
)
def test_bad_parameters_are_named(stack: Stack, user: str, query: str, status: int, field: str) -> None:
    answer = stack.get(f"/events{query}", stack.bearer(user, subscribe=["*"]))
    assert (answer.status_code, [*answer.json()["errors"]]) == (status, [field])


def test_head_request_ends(stack: Stack, base: str, user: str) -> None:
    answer = httpx.head(f"{base}/events", headers=stack.bearer(user), trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"


@pytest.mark.parametrize(("query", "status"), [("since=x", 400), ("topic=a", 400), ("topics=others", 403)])
def test_head_is_refused_as_get_is(stack: Stack, base: str, user: str, query: str, status: int) -> None:
    for ask in (httpx.head, httpx.get):
        assert ask(f"{base}/events?{query}", headers=stack.bearer(user), trust_env=False).status_code == status


def test_a_slow_reader_is_cut_and_resumes_from_the_log(single: Stack, user: str) -> None:
    stack = single
    host, port = str(stack.settings["app"]).split(":")
    with socket.socket() as slow, stack.listen(user, base=stack.app_url) as quick:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        slow.connect((host, int(port)))
        bearer = stack.bearer(user)["Authorization"]
        slow.sendall(f"GET /events HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\n\r\n".encode())
        assert slow.recv(4096)
        ids: list[str] = []

        def cut() -> bool:
            """The amount that the kernel takes first is its own affair."""
            ids.extend(stack.publish_many([{"user": user, "data": "x" * 30_000} for _ in range(20)]))
            quick.wait_ids(ids[-1])
            return connections(stack, user) == 1

        until(cut, "the slow reader to be cut", 60)
        assert quick.ids == ids
        taken = read_to_the_end(slow)
        assert b"0\r\n\r\n" not in taken[-10:], "cut, not ended"
        last = taken.rpartition(b"\n\n")[0].rpartition(b"id: ")[2].partition(b"\n")[0].decode()
    with EventSource(f"{stack.url}/events", stack.bearer(user) | {"Last-Event-ID": last}) as resumed:
        resumed.wait_ids(ids[-1])
        assert resumed.ids == ids[ids.index(last) + 1 :]


def test_a_stream_ends_whole_when_it_was_asked_to(stack: Stack, base: str, user: str) -> None:
    event_id = stack.publish(user=user, data="x")
    headers = stack.bearer(user, ttl=0.1)  # which ends later: clocks may be off by LEEWAY_SECONDS
    answer = httpx.get(f"{base}/events", params={"wait": 1, "since": "earliest"}, headers=headers, trust_env=False)
    assert f"id: {event_id}\n" in answer.text
    assert "refused" not in answer.text
    for wrong in ("0", "61", "x", ""):
        assert httpx.get(f"{base}/events?wait={wrong}", headers=headers, trust_env=False).status_code == 400
