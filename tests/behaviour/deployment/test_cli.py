"""The same service from a shell: what each command prints, and one line for whatever goes wrong."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pushsvc.storage.redis.keys import ALONE as keys
from tests.conftest import Start
from tests.support.clients.cli import printed, refusal, run
from tests.support.clients.eventsource import DEADLINE, EventSource, until
from tests.support.ports import free_port
from tests.support.stack import ROOT, Stack, command


@contextmanager
def tail(stack: Stack, *words: str) -> Iterator[list[dict[str, str]]]:
    """The output of `tail` so far."""
    argv, environ = command("tail", *words, **stack.settings)
    events: list[dict[str, str]] = []
    process = subprocess.Popen(argv, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = process.stdout
    reader = threading.Thread(target=lambda: events.extend(json.loads(line) for line in iter(lines.readline, "")))
    reader.start()
    try:
        yield events
    finally:
        process.kill()
        process.wait()
        reader.join(DEADLINE)
        lines.close()


def until_live(stack: Stack, user: str, events: list[dict[str, str]]) -> None:
    """Publish until `tail` prints something, as it does not say when it is connected."""
    until(lambda: stack.publish(user=user, event="call") and events, "the tail to hear")


@pytest.mark.parametrize("user", ["auth0|5f7c", "urn:uuid:1", "müller@example.com", "o'brien@a/b=="])
def test_every_command_takes_what_is_a_name(stack: Stack, user: str) -> None:
    token = printed(stack, "token", "--user", user, "--subscribe", "topic:a:b").strip()
    ticket = printed(stack, "ticket", user, "--topics", f"{user}/1,{user}/2").strip()
    with (
        tail(stack, user, "--topics", f"{user}/1", "--since", "earliest") as heard,
        EventSource(ticket).wait_open() as source,
        EventSource(f"{stack.url}/events", {"Authorization": f"Bearer {token}"}).wait_open() as own,
    ):
        ids = [
            json.loads(printed(stack, "publish", "hello", *words))["id"]
            for words in (["--user", user], ["--topic", f"{user}/1"], ["--topic", f"{user}/2"])
        ]
        source.wait_ids(*ids)
        own.wait_ids(ids[0])
        until(lambda: {*ids[:2]} <= {event.get("id") for event in heard}, "the tail to hear")


def test_publish_prints_the_id_and_the_event_arrives(stack: Stack, user: str) -> None:
    words = ["--user", user, "--event", "order.paid", "--key", "k", "--ttl", "600"]
    with stack.listen(user) as source:
        first = json.loads(printed(stack, "publish", '{"id": 7}', "--json", *words))
        again = json.loads(printed(stack, "publish", "not again", *words))
        last = json.loads(printed(stack, "publish", '{"id": 7}', "--user", user))
        source.wait(lambda source: last["id"] in source.ids, "the last event")
        mine = [message for message in source.messages if message.id in (first["id"], last["id"])]
    assert (again["id"], first["duplicate"], again["duplicate"]) == (first["id"], False, True)
    assert [(message.event, message.data) for message in mine] == [("order.paid", '{"id":7}'), ("message", '{"id": 7}')]


def test_publish_keeps_the_digits_of_json(stack: Stack, user: str) -> None:
    data = '{"n": [123456789012345678901234567890, 1.10, -0, 1e400]}'
    printed(stack, "publish", data, "--json", "--user", user)
    [event] = stack.get("/history", stack.bearer(user), channel=f"user:{user}").json()["events"]
    assert event["data"] == data.replace(" ", "")


def test_publish_reaches_topics_and_all(stack: Stack, user: str) -> None:
    with stack.listen(user, f"?topics={user}.news") as source:
        to_topic = json.loads(printed(stack, "publish", "to the topic", "--topic", f"{user}.news"))["id"]
        to_all = json.loads(printed(stack, "publish", "to all", "--all"))["id"]
        source.wait(lambda source: {to_topic, to_all} <= set(source.ids), "both")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["x"], "Exactly one of user, users, topic and all"),
        (["x", "--user", "a", "--all"], "user and all"),
        (["x", "--user", "a b"], "user: must be"),
        (["x", "--user", "a", "--event", "gap"], "event: "),
        (["x", "--user", "a", "--event", "heartbeat"], "event: "),
        (["x", "--user", "a", "--event", "a\nb"], "event: "),
        (["x", "--user", "a", "--ttl", "0"], "ttl: "),
        (["x", "--user", "a", "--key", ""], "key: "),
        (["x" * 70_000, "--user", "a"], "data: is 70000 bytes"),
    ],
)
def test_the_services_refusal_is_one_line(stack: Stack, words: list[str], says: str) -> None:
    assert says in refusal(stack, "publish", *words)


@pytest.mark.parametrize(
    "words",
    [
        ["nothing-of-the-kind"],
        ["token", "--ttl", "0"],
        ["token", "--ttl", "9" * 400],
        ["publish"],
        ["publish", "{x", "--json", "--user", "a"],
        ["publish", "NaN", "--json", "--user", "a"],
        ["publish", '{"a":1,"a":2}', "--json", "--user", "a"],
        ["publish", '"\\ud83d"', "--json", "--user", "a"],
        ["publish", "\udcff", "--user", "a"],  # a byte that is no UTF-8, as a shell may pass it
        ["publish", "x", "--user", "a", "--ttl", "9" * 30],
        ["tail", "a", "--since", "yesterday"],
        ["ticket", "a", "--ttl", "soon"],
    ],
)
def test_wrong_usage_is_said_as_click_says_it(stack: Stack, words: list[str]) -> None:
    done = run(stack, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "\nError: " in done.stderr


def test_tail_prints_what_comes_and_moves_no_position(stack: Stack, user: str) -> None:
    before = stack.publish(user=user, data="before")
    unread = stack.get("/unread", stack.bearer(user)).json()["unread"]
    # Line breaks of Unicode are data; only LF ends a line here.
    texts = ["one", "two\nlines", " \u2028 \u2029 \x85 \x0b \x0c \x1e ", ""]
    with tail(stack, user) as live:
        until_live(stack, user, live)
        ids = [stack.publish(user=user, event="e", data=text) for text in texts]
        until(lambda: ids[-1] in [event["id"] for event in live], "the last event")
        mine = [event for event in live if event["id"] in [before, *ids]]
    assert mine == [{"id": an_id, "event": "e", "data": text} for an_id, text in zip(ids, texts, strict=True)]
    assert stack.get("/unread", stack.bearer(user)).json()["unread"] >= unread + len(texts)


def test_tail_resumes_and_follows_topics(stack: Stack, user: str) -> None:
    ids = [stack.publish(topic=f"{user}.{name}", data=name) for name in "aba"]
    with tail(stack, user, "--topics", f"{user}.a,{user}.b", "--after", ids[0]) as events:
        until(lambda: ids[-1] in [event["id"] for event in events], "the last event")
        assert [event["id"] for event in events if event["id"] in ids] == ids[1:]
    with tail(stack, user, "--topics", f"{user}.a", "--since", "earliest") as events:
        until(lambda: ids[-1] in [event["id"] for event in events], "the last event")
        assert [event["id"] for event in events if event["id"] in ids] == [ids[0], ids[2]]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a b"], "sub: must be"),
        (["a", "--after", "nonsense"], "last_event_id: must be an event id"),
        (["a", "--after", "ä"], "last_event_id: must be an event id"),
        (["a", "--after", "1-0\r\nX: y"], "last_event_id: must be an event id"),
        (["a", "--after", "\udcff"], "not valid UTF-8"),
        (["a", "--topics", "a b"], "topics: must be"),
    ],
)
def test_a_tail_of_nothing_is_one_line(stack: Stack, words: list[str], says: str) -> None:
    assert says in refusal(stack, "tail", *words)


def test_a_printed_ticket_opens_the_stream_once(stack: Stack, user: str) -> None:
    url = printed(stack, "ticket", user, "--topics", f"{user}.news", "--ttl", "30").strip()
    assert url.startswith(f"{stack.url}/events?ticket=")
    with EventSource(url).wait_open() as source:
        an_id = stack.publish(topic=f"{user}.news", data="x")
        source.wait(lambda source: an_id in source.ids, "the topic's event")

    def refused() -> bool:
        with EventSource(url) as again:
            again.wait(lambda source: source.statuses, "an answer")
            return again.statuses == [401]

    until(refused, "the moment to pass in which a repeat takes the stream over")


@pytest.mark.parametrize(("words", "says"), [(["a b"], "user: "), (["a", "--ttl", "0"], "ttl: ")])
def test_a_ticket_for_nothing_is_one_line(stack: Stack, words: list[str], says: str) -> None:
    assert says in refusal(stack, "ticket", *words)


@pytest.mark.parametrize("words", [["publish", "x", "--user", "a"], ["tail", "a"], ["ticket", "a"]])
def test_a_service_that_does_not_run_is_one_line(stack: Stack, words: list[str]) -> None:
    assert "does not answer" in refusal(stack, *words, http=f"127.0.0.1:{free_port()}")
    with socket.create_server(("127.0.0.1", 0)) as other:
        thread = threading.Thread(target=answer_as_another, args=[other])
        thread.start()
        says = refusal(stack, *words, http=f"127.0.0.1:{other.getsockname()[1]}")
        thread.join(DEADLINE)
    assert "is not pushsvc (status 200)" in says


def answer_as_another(listener: socket.socket) -> None:
    """A web server that is not ours, for one request."""
    listener.settimeout(DEADLINE)
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello")


def answer_with_streams(listener: socket.socket, *bodies: bytes) -> None:
    """Answer with streams as the service does, a connection for each."""
    for body in bodies:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n" + body)


def refused(status: int) -> bytes:
    return b'retry: 10\nevent: refused\ndata: {"status": %d, "detail": "Not you."}\n\n' % status


def test_a_tail_that_is_refused_for_now_says_so_and_comes_back(stack: Stack) -> None:
    event = b"retry: 10\nevent: cursor\nid: 1-0\ndata:\n\nid: 2-0\ndata: x\n\n"
    with socket.create_server(("127.0.0.1", 0)) as service:
        service.settimeout(DEADLINE)
        streams = [refused(503), event, refused(401)]
        thread = threading.Thread(target=answer_with_streams, args=[service, *streams])
        thread.start()
        done = run(stack, "tail", "a", http=f"127.0.0.1:{service.getsockname()[1]}")
        thread.join(DEADLINE)
    assert (done.returncode, done.stdout) == (1, '{"id":"2-0","data":"x"}\n')
    assert done.stderr == "pushsvc: Not you.\n" * 2


def test_another_secret_is_refused_by_the_service(stack: Stack) -> None:
    other = "another-key-that-the-service-does-not-know"
    assert "token is not valid" in refusal(stack, "publish", "x", "--user", "a", secret=other)


def test_a_bad_setting_is_one_line_for_every_command(stack: Stack) -> None:
    for words in (["token"], ["publish", "x", "--all"], ["tail", "a"], ["ticket", "a"], ["serve"], ["up"]):
        assert refusal(stack, *words, workers=0).startswith("pushsvc: PUSHSVC_WORKERS is '0': ")


def test_tail_outlasts_a_reload(start: Start, user: str) -> None:
    stack = start(workers=1)
    words, environ = command("tail", user, **stack.settings)
    tail = subprocess.Popen(words, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)
    try:
        assert tail.stdout is not None
        until(lambda: stack.redis.exists(keys.connections(user)), "the tail to be connected")
        ids = [stack.publish(user=user, data="before")]
        assert json.loads(tail.stdout.readline())["id"] == ids[0]
        stack.kill("gunicorn")
        stack.until_ready()
        ids.append(stack.publish(user=user, data="after"))
        assert json.loads(tail.stdout.readline())["id"] == ids[1]
    finally:
        tail.kill()
        tail.wait()
