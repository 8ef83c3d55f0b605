"""Settings of gunicorn that its users rely on."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import orjson
import pytest

from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.clients.wire import Answer, Wire, request, wire
from tests.support.inside.mounted import with_applications
from tests.support.processes import alive
from tests.support.stack import Stack

OURS: Final = "pushsvc.server.worker.PushWorker"


def ask(client: Wire, line: str, *fields: str, body: bytes = b"", version: str = "1.1") -> Answer:
    client.send(request(line, *fields, body=body).replace(b"HTTP/1.1", f"HTTP/{version}".encode(), 1))
    answer = client.answer(line.partition(" ")[0])
    assert answer is not None
    return answer


def asked(stack: Stack, line: str, *fields: str, body: bytes = b"", version: str = "1.1") -> Answer:
    """The answer to a request on a connection of its own."""
    with wire(stack.app_url) as client:
        return ask(client, line, *fields, body=body, version=version)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The service with applications beside it, and with hooks."""
    made = with_applications(tmp_path_factory.mktemp("service"))
    with (made / "pushsvc/server/gunicorn_conf.py").open("a") as text:
        text.write(HOOKS)
    return made


HOOKS: Final = """

def pre_request(worker, req):
    worker.log.warning("hook: before %s %s %s", req.method, req.path, dict(req.headers).get("X-A"))


def post_request(worker, req, environ, resp):
    worker.log.warning("hook: after %s %s %s", req.method, environ["PATH_INFO"], resp.status)
"""


@contextmanager
def serving(data: Path, folder: Path, options: str, worker: str = OURS, workers: int = 1) -> Iterator[Stack]:
    running = Stack(data, folder=folder, workers=workers, gunicorn=f"--worker-class {worker} {options}", worker=worker)
    yield running
    running.stop()


FORMAT: Final = (
    "%(h)s|%(l)s|%(u)s|%(m)s|%(U)s|%(q)s|%(H)s|%(s)s|%(B)s|%(b)s|%(f)s|%(a)s|%({x-a}i)s|%({content-type}o)s|%(r)s"
)
ASKED: Final = [
    ("GET /tested/closing?a=b&c=%20", ["User-Agent: browser/1 (x)", "Referer: https://a.example/", "X-A: one"], b""),
    ("POST /tested/body?read", ["X-A: two"], b"hello"),
    ("HEAD /tested/long", [], b""),
    ("GET /tested/file?length", ["Authorization: Basic YWxpY2U6c2VjcmV0"], b""),
    ("GET /tested/of_status?204", [], b""),
    ("GET /nothing?a=b", ['User-Agent: a"b'], b""),
    ("DELETE /healthz", [], b""),
]


def others(text: str) -> list[str]:
    """The lines that are not about the stack's own health checks."""
    return [line for line in text.splitlines() if not re.search(r"GET[| ]/(readyz|healthz)", line)]


def told(stack: Stack) -> list[str]:
    """The output of the hooks."""
    return others("\n".join(re.findall(r"hook: .*(?= \[gunicorn\.error\])", stack.output)))


def test_the_access_log_and_the_hooks_are_those_of_gunicorns_worker(tmp_path: Path, folder: Path) -> None:
    logs, hooks = [], []
    for worker in ("gevent", OURS):
        log = tmp_path / f"{worker}.log"
        options = f"--access-logfile {log} --access-logformat '{FORMAT}'"
        with serving(tmp_path / worker, folder, options, worker) as stack:
            for line, fields, body in ASKED:
                for version in ("1.1", "1.0"):
                    asked(stack, line, *fields, body=body, version=version)
            until(partial(lambda log: len(others(log.read_text())) >= 2 * len(ASKED), log), "the last line")
            logs.append(others(log.read_text()))
            until(partial(lambda stack: len(told(stack)) >= 4 * len(ASKED), stack), "the last hook")
            hooks.append(told(stack))
    assert logs[0] == logs[1]
    assert hooks[0] == hooks[1]
    first = "127.0.0.1|-|-|GET|/tested/closing|a=b&c=%20|HTTP/1.1|200|7|7|https://a.example/|browser/1 (x)|one|"
    assert logs[1][0].startswith(first)


def test_the_time_that_a_request_took_is_logged(tmp_path: Path, folder: Path) -> None:
    log = tmp_path / "log"
    options = f"--access-logfile {log} --access-logformat %(T)s|%(M)s|%(D)s|%(L)s|%(p)s|%(t)s"
    with serving(tmp_path / "data", folder, options) as stack:
        asked(stack, "GET /healthz")
        until(lambda: "\n" in log.read_text(), "the line")
        pids = stack.pids()["gunicorn"]
        took, milliseconds, microseconds, seconds, pid, _ = log.read_text().splitlines()[-1].split("|")
        assert int(took) == int(microseconds) // 10**6
        assert int(milliseconds) == int(microseconds) // 1000
        assert abs(float(seconds) * 10**6 - int(microseconds)) < 10
        assert int(pid.strip("<>")) in pids


def test_a_worker_that_is_stuck_is_replaced_and_no_other(tmp_path: Path, folder: Path) -> None:
    with serving(tmp_path, folder, "--timeout 3", workers=2) as stack, wire(stack.app_url) as client:
        before = set(stack.pids()["gunicorn"][1:])
        client.send(request("GET /tested/stuck"))
        until(lambda: sum(not alive(pid) for pid in before) == 1, "the end of the worker")
        assert all(answer.status >= 500 for answer in client.answers())
        until(lambda: len(stack.pids()["gunicorn"]) == 3, "another worker")
        assert len(before & set(stack.pids()["gunicorn"])) == 1
        assert asked(stack, "GET /healthz").status == 200


def test_a_worker_that_has_served_enough_is_replaced_and_nobody_notices(tmp_path: Path, folder: Path) -> None:
    with serving(tmp_path, folder, "--max-requests 30", workers=2) as stack:
        before = set(stack.pids()["gunicorn"][1:])

        def replaced() -> bool:
            assert asked(stack, "GET /healthz").status == 200
            with wire(stack.app_url) as client:
                assert ask(client, "GET /healthz").status == 200
                client.send(request("GET /healthz"))
                answer = client.answer()
                assert answer is None or answer.status == 200
            return not before & set(stack.pids()["gunicorn"])

        until(replaced, "two new workers", 60)


def test_idle_connections_are_closed_in_time(tmp_path: Path, folder: Path) -> None:
    with serving(tmp_path, folder, "--keep-alive 1") as stack, wire(stack.app_url) as client:
        for _ in range(3):
            assert ask(client, "GET /healthz").fields["connection"] == "keep-alive"
        assert client.closed


def test_connections_are_not_kept_if_nobody_wants_it(tmp_path: Path, folder: Path) -> None:
    with serving(tmp_path, folder, "--keep-alive 0") as stack, wire(stack.app_url) as client:
        assert ask(client, "GET /healthz").fields["connection"] == "close"
        assert client.closed


def test_the_service_has_limits_of_its_own(tmp_path: Path, folder: Path) -> None:
    """They are the same as nginx's, so gunicorn's settings of them change nothing (pushsvc/server/limits.py)."""
    options = "--limit-request-line 100 --limit-request-fields 5 --limit-request-field_size 50"
    with serving(tmp_path, folder, options) as stack:
        fields = [f"X-Field-{number}: {'y' * 500}" for number in range(50)]
        assert asked(stack, f"GET /healthz?{'x' * 5000}", *fields).status == 200


def test_what_only_gunicorn_can_read_is_read_by_it(tmp_path: Path, folder: Path, user: str) -> None:
    """The PROXY protocol's line, in front of the first request, of those who may say it."""
    line = b"PROXY TCP4 10.1.2.3 10.4.5.6 1234 80\r\n"
    with serving(tmp_path, folder, "--proxy-protocol v1") as stack, wire(stack.app_url) as client:
        client.send(line)
        for _ in range(2):
            told = orjson.loads(ask(client, "POST /tested/environment", body=b"hello").body)["values"]
            assert (told["REMOTE_ADDR"], told["CONTENT_LENGTH"]) == ("10.1.2.3", "5")
        with stack.listen(user, base=stack.app_url) as source:
            source.wait_ids(stack.publish(user=user))
        host, port = stack.app_url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20, source_address=("127.0.0.2", 0)) as stranger:
            stranger.sendall(line + request("GET /healthz"))
            assert stranger.recv(12) == b"HTTP/1.1 403"


def test_a_request_under_way_is_finished_before_the_end(start: Start, folder: Path) -> None:
    go = folder / "go"
    stack = start(workers=1, folder=folder, drain_seconds=0)
    with wire(stack.app_url) as client:
        client.send(request("GET /tested/waiting"))
        until(lambda: b"waiting" in asked(stack, "GET /tested/noted").body, "it to be under way")
        master, worker = stack.pids()["gunicorn"]
        os.kill(master, signal.SIGTERM)

        def refused() -> bool:
            try:
                return asked(stack, "GET /readyz").status == 503
            except (AssertionError, OSError):
                return True

        until(refused, "the worker to stop")
        go.touch()
        try:
            answer = client.answer()
        finally:
            go.unlink()
        assert answer is not None
        assert (answer.status, answer.body, answer.whole) == (200, b"gone", True)
        assert client.closed
        until(lambda: not alive(worker), "the end of the worker")
