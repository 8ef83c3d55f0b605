"""A secret that opens something is in no log of gunicorn's, also where an operator asks for more than we log."""

from __future__ import annotations

import signal
import socket
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from pushsvc.telemetry.logs import without_secrets
from tests.support.clients.eventsource import until
from tests.support.clients.ticket_streams import used
from tests.support.stack import Stack
from tests.support.tokens import new_ticket

# The fields that may hold a credential, as a header, and as gunicorn and PEP 3333 name them in the environment.
NAMED: Final = ("authorization", "cookie", "last-event-id", "referer", "user-agent")
FORMAT: Final = "|".join(
    ["%(r)s", "%(q)s", "%(U)s", "%(f)s", "%({raw_uri}e)s", "%({query_string}e)s", "%({set-cookie}o)s"]
    + [f"%({{{name}}}i)s|%({{http_{name.replace('-', '_')}}}e)s" for name in NAMED]
)


@pytest.mark.parametrize("worker", ["", "gevent"], ids=["ours", "gunicorn's"])
def test_an_access_log_holds_no_credential(tmp_path: Path, worker: str) -> None:
    log = tmp_path / "access.log"
    kind = worker or "pushsvc.server.worker.PushWorker"
    options = f"--worker-class {kind} --access-logfile {log} --access-logformat '{FORMAT}'"
    stack = Stack(tmp_path / "data", gunicorn=options, worker=worker, workers=1)
    token = stack.token("alice", subscribe=["*"])
    headers = {"Authorization": f"Bearer {token}"}
    spent, fresh, shown = (new_ticket(stack, headers)["ticket"] for _ in range(3))
    proof, cookie = used(f"{stack.app_url}/events?since=now&ticket={spent}")
    stack.get("/history", {**headers, "Referer": f"http://a/?ticket={shown}", "Last-Event-ID": f"1-1~{proof}"})
    stack.get(f"/healthz?a=b&%74icke%54=x&tic%6bet={fresh}", {"Cookie": cookie, "Connection": "close"})
    until(partial(lambda log: "/healthz?a=b" in log.read_text(), log), "the last line")
    stack.stop(signal.SIGKILL)
    for written in (log.read_text(), stack.output):
        for secret in (token, spent, fresh, shown, proof, cookie.partition("=")[2]):
            assert secret not in written
    assert "/events?since=now&ticket=-" in log.read_text(), "the rest of the query is told"
    assert stack.leaked() == []
    planted = {fresh, proof, cookie.partition("=")[2]}
    stack.output += " ".join(planted)
    assert set(stack.leaked()) == planted, "as each stack of the tests asks when it has stopped"


def test_an_error_line_of_gunicorns_own_worker_holds_no_ticket(tmp_path: Path) -> None:
    stack = Stack(tmp_path, worker="gevent", workers=1)
    host, port = str(stack.settings["app"]).split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET /events?ticket=a-ticket-that-nobody-used\r\n\r\n")
        client.recv(1000)
    until(lambda: "GET /events?ticket=" in stack.output, "the line")
    stack.stop(signal.SIGKILL)
    assert "a-ticket-that-nobody-used" not in stack.output


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("GET /events?ticket=abc HTTP/1.1", "GET /events?ticket=- HTTP/1.1"),
        ("ticket=abc&since=now", "ticket=-&since=now"),
        ("a=b&%74icket=abc", "a=b&%74icket=-"),
        ("/?tic%6Bet=a&tic%6bet=b", "/?tic%6Bet=-&tic%6bet=-"),
        ("/?demo=word#part", "/?demo=-#part"),
        ("/events?last_event_id=1795786100974-0~abc&since=now", "/events?last_event_id=1795786100974-0~-&since=now"),
        ("/history?after=1795786100974-%30%7eabc HTTP/1.1", "/history?after=1795786100974-%30%7e- HTTP/1.1"),
        ("/?a=~abc&b=1", "/?a=~abc&b=1"),
        ("/?myticket=abc&tickets=2&topics=a,b", "/?myticket=abc&tickets=2&topics=a,b"),
    ],
)
def test_the_rest_of_a_text_stays(text: str, left: str) -> None:
    assert without_secrets(text) == left
