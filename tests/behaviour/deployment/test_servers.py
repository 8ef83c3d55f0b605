"""Servers other than the one we bring: what works there, and what is refused at once."""

from __future__ import annotations

import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support.clients.eventsource import until
from tests.support.gunicorn import gunicorn
from tests.support.programs import OPENSSL, need
from tests.support.stack import Stack


def test_threads_can_publish_and_hold_no_streams(stack: Stack, tmp_path: Path, user: str) -> None:
    with gunicorn(stack, tmp_path, "--worker-class", "gthread", "--threads", "8") as url:

        def publish(number: int) -> int:
            body = {"user": user, "data": str(number)}
            return stack.post("/publish", body, stack.bearer(publish=["*"]), base=url).status_code

        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(publish, range(40))) == [200] * 40
        refused = httpx.get(f"{url}/events", headers=stack.bearer(user), trust_env=False)
        assert refused.status_code == 503
        assert "gevent" in refused.json()["detail"]
    history = stack.get("/history", stack.bearer(user), channel=f"user:{user}").json()["events"]
    assert sorted(int(event["data"]) for event in history) == list(range(40))


def test_tls_in_gunicorn(stack: Stack, tmp_path: Path, user: str) -> None:
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    subprocess.run(
        [need(OPENSSL), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    words = ["--config", "pushsvc/server/gunicorn_conf.py", "--certfile", certificate, "--keyfile", key]
    trust = ssl.create_default_context(cafile=certificate)
    with (
        gunicorn(stack, tmp_path, *words, scheme="https") as url,
        httpx.Client(verify=trust, trust_env=False) as client,
    ):
        with client.stream("GET", f"{url}/events?since=now", headers=stack.bearer(user)) as response:
            assert response.status_code == 200
            ids = [stack.publish(user=user, data=str(number)) for number in range(3)]
            text = ""
            for piece in response.iter_text():
                text += piece
                if ids[-1] in text:
                    break
        assert [line.removeprefix("id: ") for line in text.splitlines() if line.startswith("id: ")][-3:] == ids


@pytest.mark.parametrize(
    "words",
    [
        ["--worker-class", "pushsvc.server.worker.PushWorker"],
        ["--worker-class", "pushsvc.worker.PushWorker"],  # as it was named up to 0.3
        ["--config", "pushsvc/gunicorn_conf.py"],
    ],
    ids=" ".join,
)
def test_our_worker_does_without_our_configuration(stack: Stack, tmp_path: Path, user: str, words: list[str]) -> None:
    fields = {f"X-Field-{number}": "-" for number in range(100)} | {"Cookie": f"x={'y' * 12_288}"}
    claims = {"Script_Name": "/evil", "X-Forwarded-Ssl": "off", "X-Forwarded-Proto": "https"}
    with gunicorn(stack, tmp_path, *words) as url:
        for headers in (fields, claims):
            answer = stack.post("/tickets", {"user": user}, stack.bearer(user) | headers, base=url)
            assert (answer.status_code, answer.json().get("url", "")[:8]) == (200, "/events?"), answer.text
        assert stack.post("/evil/tickets", {"user": user}, stack.bearer(user) | claims, base=url).status_code == 404


@pytest.mark.parametrize("worker", ["pushsvc.server.worker.PushWorker", "gevent", "sync"])
def test_what_redis_refuses_is_said_though_nobody_looked_before(stack: Stack, tmp_path: Path, worker: str) -> None:
    stack.redis.execute_command("ACL", "SETUSER", "someone", "on", ">hunter2", "~*", "&*", "+@all", "-xtrim")
    try:
        with gunicorn(stack, tmp_path, "--worker-class", worker, "--workers", "2", account="someone:hunter2@"):
            output = tmp_path / "output"
            until(lambda: "PUSHSVC_REDIS_URL: Redis refuses XTRIM in scripts" in output.read_text(), "the line")
            assert worker in ("gevent", "sync") or output.read_text().count("PUSHSVC_REDIS_URL") == 1
    finally:
        stack.redis.execute_command("ACL", "DELUSER", "someone")
