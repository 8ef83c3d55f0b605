"""The files in nginx/ as they are shipped: TLS, forwarding, and what a browser gets while no worker answers."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pushsvc.config import Settings
from pushsvc.proxy import nginx_command
from tests.eventsource import until
from tests.programs import OPENSSL, need
from tests.stack import ROOT, Stack, alive, dies_with_the_tests, free_port


@pytest.fixture(scope="module")
def site(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, httpx.Client]]:
    """`site.conf` with its paths, ports and certificate put where a test may have them."""
    folder = tmp_path_factory.mktemp("site")
    port, plain_app = free_port(), str(stack.settings["app"])
    subprocess.run(
        [need(OPENSSL), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    text = (ROOT / "nginx" / "site.conf").read_text()
    for old, new in {
        r"/etc/nginx/pushsvc/": f"{ROOT}/nginx/",
        r"/etc/ssl/certs/push.example.com.pem": f"{folder}/cert.pem",
        r"/etc/ssl/private/push.example.com.key": f"{folder}/key.pem",
        r"/var/log/nginx/pushsvc.log": f"{folder}/access.log",
        r"127\.0\.0\.1:8000": plain_app,
        r"listen \[::\]:443[^;]*;": "",
        r"listen 443": f"listen 127.0.0.1:{port}",
        r"push\.example\.com": "localhost",
    }.items():
        text = re.sub(old, new, text)
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(f"{user}\ndaemon off;\npid nginx.pid;\nevents {{}}\nhttp {{\n{text}\n}}\n")
    binary = nginx_command(Settings(data_dir=folder / "data"))[0]
    process = subprocess.Popen(
        [binary, "-p", folder, "-c", config, "-e", folder / "error.log"], preexec_fn=dies_with_the_tests(signal.SIGTERM)
    )
    trust = ssl.create_default_context(cafile=folder / "cert.pem")
    with httpx.Client(base_url=f"https://localhost:{port}", verify=trust, trust_env=False, timeout=10) as client:

        def up() -> bool:
            try:
                return client.get("/healthz").status_code == 200
            except httpx.HTTPError:
                assert alive(process.pid), (folder / "error.log").read_text()
                return False

        until(up, "nginx with site.conf")
        yield str(folder), client
    process.terminate()
    process.wait()


def test_streams_and_tickets_over_tls(stack: Stack, site: tuple[str, httpx.Client], user: str) -> None:
    folder, client = site
    ticket = client.post("/tickets", json={"user": user}, headers=stack.bearer(subscribe=["*"])).json()
    event_id = stack.publish(user=user, data="over tls")
    with client.stream("GET", ticket["url"]) as answer:
        assert "Secure" in answer.headers["set-cookie"], "the scheme is forwarded"
        assert any(event_id in line for line in answer.iter_lines())
    log = Path(folder, "access.log")
    until(lambda: "/events" in log.read_text(), "the stream in the log")
    assert ticket["ticket"] not in log.read_text()


def test_what_a_client_claims_about_itself_is_dropped(stack: Stack, site: tuple[str, httpx.Client], user: str) -> None:
    _, client = site
    cookie = {"Cookie": f"pushsvc_token={stack.token(user, publish=['*'])}"}
    lies = cookie | {"Origin": "https://evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}
    assert client.post("/publish", json={"user": user, "data": 1}, headers=lies).status_code == 403


@pytest.mark.parametrize("request_line", ["GET / HTTP/1.1\r\nHost: a\r\nHost: b", "GET /" + "x" * 20_000 + " HTTP/1.1"])
def test_malformed_requests_are_problems(stack: Stack, request_line: str) -> None:
    host, port = str(stack.settings["http"]).split(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(f"{request_line}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in answer


def test_while_no_worker_answers(stack: Stack, tmp_path: Path) -> None:
    """An nginx of `pushsvc up`, in front of nothing."""
    http = f"127.0.0.1:{free_port()}"
    words = nginx_command(Settings(data_dir=tmp_path, http=http, app=f"127.0.0.1:{free_port()}"))
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, preexec_fn=dies_with_the_tests(signal.SIGTERM))
    try:

        def get(path: str, accept: str) -> httpx.Response | None:
            try:
                return httpx.get(f"http://{http}{path}", headers={"Accept": accept}, trust_env=False)
            except httpx.ConnectError:
                return None

        until(lambda: get("/healthz", "*/*"), "nginx")
        stream = get("/events", "text/event-stream")
        assert stream is not None
        assert stream.status_code == 200
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert re.match(r"retry: \d{4}\n", stream.text), "a browser comes back, and does not give up"
        for path in ("/events", "/healthz"):
            other = get(path, "*/*")
            assert other is not None
            assert other.status_code == 502
            assert other.headers["content-type"] == "application/problem+json"
            assert other.headers["retry-after"] == "2"
            assert other.json()["status"] == 502
    finally:
        process.terminate()
        process.wait()
