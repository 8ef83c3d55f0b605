"""The answers of nginx itself: while no worker is there, each client hears it in words that it understands."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from playwright.sync_api import Page

from pushsvc.config import Settings
from pushsvc.stack.nginx import nginx_command
from tests.support.clients.eventsource import until
from tests.support.ports import free_port
from tests.support.processes import dies_with_the_tests
from tests.support.stack import spoken

FRIEND = "https://app.example.com"
SSE = "text/event-stream"


class Front(NamedTuple):
    """An nginx of `up` in front of nothing."""

    url: str
    log: Path
    site: str  # another one, which is allowed

    def ask(self, method: str, path: str, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.request(method, f"{self.url}{path}", headers=named, trust_env=False, timeout=40)

    def is_up(self) -> bool:
        try:
            return self.ask("GET", "/healthz").status_code == 502
        except httpx.ConnectError:
            return False


@pytest.fixture(scope="module", params=["port", "socket"])
def front(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("front")
    given = {
        "DATA_DIR": str(folder),
        "HTTP": f"127.0.0.1:{free_port()}",
        "APP": f"127.0.0.1:{free_port()}" if request.param == "port" else f"unix:{folder}/app.sock",
        "ALLOWED_ORIGINS": f"{FRIEND},http://[::1]:3000,chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        "RETRY_SECONDS": "0.5",
        "PUBLIC_URL": "https://push.example.org/push",
    }
    site = ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    given["ALLOWED_ORIGINS"] += f",http://localhost:{site.server_port}"
    with (folder / "log").open("w") as log:
        settings = Settings.from_env({f"PUSHSVC_{name}": value for name, value in given.items()})
        process = subprocess.Popen(nginx_command(settings), stderr=log, preexec_fn=dies_with_the_tests(signal.SIGTERM))
    running = Front(f"http://{given['HTTP']}", folder / "log", f"http://localhost:{site.server_port}/")
    try:
        until(running.is_up, "nginx")
        yield running
    finally:
        process.terminate()
        process.wait()
        site.shutdown()
        site.server_close()


@pytest.mark.parametrize("prefix", ["", "/push"])
@pytest.mark.parametrize("path", ["/events?ticket=t", "/v1/generations/g1/events", "/v1/generations/events?a=b"])
@pytest.mark.parametrize("accept", [SSE, "text/html, Text/Event-Stream;q=0.9"])
def test_an_eventsource_is_told_to_come_back(front: Front, prefix: str, path: str, accept: str) -> None:
    stream = front.ask("GET", prefix + path, Accept=accept, Origin=FRIEND)
    assert (stream.status_code, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert stream.headers["cache-control"] == "no-store, no-transform"
    told = re.fullmatch(r"retry: (\d+)\nevent: refused\ndata: (\{.*\})\n\n", stream.text)
    assert told is not None, stream.text
    assert 250 <= int(told[1]) <= 750
    problem = json.loads(told[2])
    assert (problem["status"], problem["title"]) == (502, "Bad gateway")
    assert readable_by(FRIEND, stream)


@pytest.mark.parametrize(
    ("method", "path", "accept"),
    [
        ("GET", "/events", "*/*"),
        ("HEAD", "/events", SSE),
        ("POST", "/events", SSE),
        ("GET", "/healthz", SSE),
        ("GET", "/eventsx", SSE),
        ("POST", "/v1/chat/completions", SSE),
        ("DELETE", "/v1/generations/x", SSE),
        ("GET", "/v1/generations/x", SSE),
        ("POST", "/push/v1/generations/x/events", SSE),
        ("GET", "/v1/models", "*/*"),
    ],
)
def test_everybody_else_gets_the_status(front: Front, method: str, path: str, accept: str) -> None:
    answer = front.ask(method, path, Accept=accept, Origin=FRIEND)
    assert (answer.status_code, answer.headers["retry-after"]) == (502, "2")
    assert readable_by(FRIEND, answer)
    if "/v1/" in path:
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["error"]["code"] == "bad_gateway"
    else:
        assert answer.headers["content-type"] == "application/problem+json"
        assert method == "HEAD" or answer.json()["status"] == 502


@pytest.mark.parametrize("path", ["/publish", "/v1/chat/completions"])
@pytest.mark.parametrize(
    ("field", "status"),
    [("Content-Length: 99999999", 413), (f"Cookie: {'x' * 140_000}", 431), ("Content-Length: x", 400)],
)
def test_a_page_can_read_why_its_request_was_not_taken(front: Front, path: str, field: str, status: int) -> None:
    request = f"POST {path} HTTP/1.1\r\nHost: x\r\nOrigin: {FRIEND}\r\n{field}\r\n\r\n"
    given, headers, body = spoken(front.url, request.encode())
    assert given == status
    assert (headers["access-control-allow-origin"], headers["access-control-allow-credentials"]) == (FRIEND, "true")
    assert [*json.loads(body)] == (["error"] if "/v1/" in path else ["type", "title", "status", "detail"])


@pytest.mark.parametrize("origin", [FRIEND, "http://[::1]:3000", "chrome-extension://abcdefghijklmnopabcdefghijklmnop"])
def test_a_preflight_of_an_allowed_origin_passes(front: Front, origin: str) -> None:
    asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "content-type, idempotency-key"}
    for path in ("/publish", "/v1/generations", "/events"):
        answer = front.ask("OPTIONS", path, Origin=origin, **asked)
        assert answer.is_success
        assert answer.headers["access-control-allow-headers"] == "content-type, idempotency-key"
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert readable_by(origin, answer)


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", f"{FRIEND}.evil.example", "https://appxexample.com", "http://1:3000"],
)
def test_others_may_not_read_an_answer(front: Front, origin: str) -> None:
    for method, path, accept in (("GET", "/events", SSE), ("GET", "/unread", "*/*"), ("OPTIONS", "/publish", "*/*")):
        answer = front.ask(method, path, Accept=accept, Origin=origin, Access_Control_Request_Method="POST")
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert answer.headers["vary"] == "Origin"
        assert answer.is_success == (accept == SSE)


def test_no_ticket_is_logged(front: Front) -> None:
    for path in ("/events?ticket=secret-ticket", "/v1/generations/g/events?ticket=secret-ticket", "/?demo=secret-word"):
        front.ask("GET", path, Accept=SSE)
        front.ask("POST", path)
    front.ask("GET", "/last-of-them")
    until(lambda: "refused GET /last-of-them, " in front.log.read_text(), "the log")
    log = front.log.read_text()
    assert "refused POST /v1/generations/g/events, " in log
    assert "secret" not in log


def test_an_nginx_that_is_out_of_files_refuses_for_now(tmp_path: Path) -> None:
    """It accepts a client and then has no file left for asking a worker."""
    http = f"127.0.0.1:{free_port()}"
    settings = Settings.from_env({"PUSHSVC_DATA_DIR": str(tmp_path), "PUSHSVC_HTTP": http})
    with (tmp_path / "log").open("w") as log, ExitStack() as held:
        process = subprocess.Popen(
            nginx_command(settings), stderr=log, preexec_fn=dies_with_the_tests(signal.SIGTERM, files=60)
        )
        held.callback(process.wait)
        held.callback(process.terminate)
        front = Front(f"http://{http}", tmp_path / "log", "")
        until(front.is_up, "nginx")
        listener, publisher = (held.enter_context(httpx.Client(base_url=front.url, trust_env=False)) for _ in range(2))
        for each in (listener, publisher):
            assert each.get("/healthz").status_code == 502  # it is accepted, and kept
        host, port = http.split(":")
        for _ in range(200):  # for each of nginx's processes as many as it can take
            held.enter_context(socket.create_connection((host, int(port))))
        told = when_files_lack(lambda: listener.get("/events", headers={"Accept": SSE}))
        assert (told.status_code, told.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        refused = when_files_lack(lambda: publisher.post("/publish"))
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert "worker_rlimit_nofile" in (tmp_path / "log").read_text()


def when_files_lack(ask: Callable[[], httpx.Response]) -> httpx.Response:
    answers = []

    def refused() -> bool:
        answers.append(ask())
        return '"status":503' in answers[-1].text

    until(refused, "nginx to be out of files")
    return answers[-1]


def readable_by(origin: str, answer: httpx.Response) -> bool:
    headers = answer.headers
    named = (headers.get("access-control-allow-origin"), headers.get("access-control-allow-credentials"))
    return named == (origin, "true") and headers["vary"] == "Origin"


def test_a_browser_on_another_site_comes_back(front: Front, page: Page) -> None:
    """Its EventSource hears of the refusal, and asks again: without the headers it would be closed for good."""
    page.goto(front.site)
    heard = page.evaluate(
        """url => new Promise(done => {
          const heard = [], events = new EventSource(url, { withCredentials: true });
          events.addEventListener("refused", event => {
            heard.push(JSON.parse(event.data).status);
            if (heard.length === 2) { events.close(); done(heard); }
          });
          events.onerror = () => { if (events.readyState === 2) done("closed for good"); };
        })""",
        f"{front.url}/events",
    )
    assert heard == [502, 502]
