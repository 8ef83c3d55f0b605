"""A publisher's reaction to each kind of answer, and with none."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from email.utils import formatdate
from functools import partial

import pytest

from pushsvc.client import Publisher, PublishError, QueueFull, Receipt
from pushsvc.client.http.transport import Response, Transport
from tests.support.clients.eventsource import DEADLINE
from tests.support.clients.scripted import CUT, Say, html, problem, scripted
from tests.support.ports import free_port
from tests.support.stack import ROOT


@pytest.mark.parametrize(
    "first", [CUT, problem(503, Retry_After="0"), problem(429), problem(500), problem(507), html(502)]
)
def test_what_passes_is_tried_again_with_the_same_key(first: Say) -> None:
    with scripted(first, Say(body=b'{"id": "1-0", "duplicate": true}')) as service, Publisher(service.url, "t") as push:
        assert push.publish("x", user="a") == Receipt("1-0", False), "its own repeat is no duplicate"
        one, other = service.bodies()
    assert one == other
    assert len(one["key"]) == 32


@pytest.mark.parametrize(
    ("answer", "says", "status"),
    [
        (problem(413, "data: is too long."), "data: is too long.", 413),
        (problem(401, "The token has expired."), "The token has expired.", 401),
        (html(413), "answers with status 413", 413),
        (html(200), "is not pushsvc", 200),
        (html(404), "is not pushsvc", 404),
        (Say(body=b"<html>"), "is not pushsvc", 200),
    ],
)
def test_what_stays_is_raised_at_once(answer: Say, says: str, status: int) -> None:
    with scripted(answer) as service, Publisher(service.url, "t", patience=60) as push:
        with pytest.raises(PublishError, match=says) as raised:
            push.publish("x", user="a", key="k")
        assert (raised.value.status, raised.value.key, len(service.requests)) == (status, "k", 1)


def test_a_service_that_is_away_or_silent_is_said_after_the_patience() -> None:
    with pytest.raises(PublishError, match="does not answer") as raised:
        Publisher(f"http://127.0.0.1:{free_port()}", "t", patience=0.1).publish("x", user="a")
    assert raised.value.temporary
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(PublishError, match="took too long"):
            Publisher(url, "t", timeout=0.05, patience=0.1).publish("x", user="a")
        with (
            Publisher(url, "t", timeout=0.05, patience=0.3) as push,
            pytest.raises(PublishError),
            push.stream() as stream,
        ):
            stream.publish("x", user="a")


def test_a_fresh_token_is_asked_for_when_the_last_has_ended() -> None:
    tokens = iter(["old", "new"])
    with scripted(problem(401), Say()) as service, Publisher(service.url, lambda: next(tokens)) as push:
        push.publish("x", user="a")
        assert [request["headers"]["Authorization"] for request in service.requests] == ["Bearer old", "Bearer new"]


def test_a_date_in_retry_after_is_compared_with_the_services_own_clock() -> None:
    with scripted(
        problem(503, Retry_After=formatdate(1003, usegmt=True), Date=formatdate(1000, usegmt=True))
    ) as service:
        of = Transport(service.url, "t", timeout=5)
        answer: Response = of.request("POST", "/publish", b"{}")
        answer.headers.replace_header("Date", formatdate(1000, usegmt=True))
        assert of.refusal(answer).retry_after == 3.0


def test_of_a_batch_what_waits_is_sent_again_and_the_rest_is_not() -> None:
    def result(*answers: object) -> Say:
        return Say(body=json.dumps({"results": answers}).encode())

    kept, no, later = (
        {"id": "1-0", "duplicate": False},
        {"error": {"status": 400, "detail": "No."}},
        {"error": {"status": 503}},
    )
    with scripted(result(kept, no, later), result(kept)) as service, Publisher(service.url, "t") as push:
        found = push.publish_many(
            [{"user": "a", "data": number} for number in range(3)] + [{"user": "a", "data": float("nan")}]
        )
        assert [isinstance(each, Receipt) for each in found] == [True, False, True, False]
        assert [item["data"] for item in service.bodies()[1]] == [2]


@pytest.mark.parametrize("refusal", [html(413), problem(413), problem(400)])
def test_of_a_request_that_is_too_large_all_is_taken_but_what_is_to_blame(refusal: Say) -> None:
    with scripted(refusal, Say(), refusal, Say(), refusal, Say()) as service, Publisher(service.url, "t") as push:
        found = push.publish_many([{"user": "a", "data": number} for number in range(4)])
        assert [isinstance(each, Receipt) for each in found] == [True, True, True, False]
        sent = [[item["data"] for item in body] for body in service.bodies()]
    assert sent == [[0, 1, 2, 3], [0, 1], [2, 3], [2], [3]]


def test_a_queue_that_is_full_says_so_and_its_errors_are_told() -> None:
    told: list[tuple[object, str]] = []
    with scripted(problem(413, "Too long.")) as service:
        push = Publisher(
            service.url, "t", queue_size=2, on_error=lambda item, error: told.append((item["data"], error.detail))
        )
        fill = map(partial(push.enqueue, user="a"), range(100_000))
        with pytest.raises(QueueFull):
            list(fill)
        assert push.flush(DEADLINE)
        push.close()
    assert [data for data, _ in told] == list(range(len(told)))
    assert {detail for _, detail in told} == {"Too long."}
    with pytest.raises(PublishError, match="closed"):
        push.enqueue("x", user="a")


AT_EXIT = """
import os, sys
from pushsvc.client import Publisher
push = Publisher(sys.argv[1], "t")
push.enqueue("parent", user="a")
if os.fork():
    os.wait()
else:
    push.enqueue("child", user="a")
    print(push.publish("own", user="a").id, flush=True)
"""


def test_the_end_of_a_process_and_of_its_fork_wait_for_the_queue() -> None:
    with scripted(Say()) as service:
        done = subprocess.run(
            [sys.executable, "-c", AT_EXIT, service.url], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        sent = [each["data"] for body in service.bodies() for each in (body if isinstance(body, list) else [body])]
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(sent) == ["child", "own", "parent"], "each once"


GREENLETS = """
from gevent import monkey; monkey.patch_all()
import sys, gevent
from pushsvc.client import Publisher
push = Publisher(sys.argv[1], "t")
jobs = [gevent.spawn(push.publish, n, user="a") for n in range(20)]
gevent.joinall(jobs, raise_error=True)
push.enqueue("queued", user="a")
print(len({job.value.id for job in jobs}), push.flush(30))
"""


def test_greenlets_publish_at_the_same_time() -> None:
    with scripted(Say()) as service:
        done = subprocess.run(
            [sys.executable, "-c", GREENLETS, service.url], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
    assert (done.stdout, done.stderr) == ("1 True\n", "")


def test_a_connection_is_kept_and_one_that_was_closed_is_made_anew() -> None:
    with scripted(Say()) as service, Publisher(service.url, "t") as push:
        ports = []
        for _ in range(3):
            push.publish("x", user="a")
            ports.append(push._http.transport._idle[0][0].sock.getsockname()[1])  # type: ignore[union-attr]
        assert len(set(ports)) == 1
        service.answers[:] = [Say(headers={"Connection": "close"}), Say()]
        push.publish("x", user="a")
        push.publish("x", user="a")
        push._http.transport._idle[0][0].sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
        push.publish("x", user="a")
        assert len(service.requests) == 6


@pytest.mark.parametrize(
    "url", ["push.example.com", "ftp://a", "http://u:p@a", "http://a?x=y", "http://a:x", "http://a b"]
)
def test_a_url_that_cannot_be(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        Publisher(url, "t")


@pytest.mark.parametrize("token", ["", "a b", "ä", "a\r\nX: y"])
def test_a_token_that_cannot_be(token: str) -> None:
    with pytest.raises(ValueError, match="token"):
        Publisher("http://a", token)


def test_importing_it_loads_nothing_heavy() -> None:
    code = "import sys, pushsvc.client; print(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split())
    assert not loaded & {
        "flask",
        "gevent",
        "redis",
        "asyncio",
        "httpx",
        "orjson",
        "pydantic",
        "click",
        "prometheus_client",
    }
