"""The output of `python -m pushsvc nginx` for a system nginx, and that of `up`: TLS, forwarding, malformed requests."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pushsvc.config import Settings
from pushsvc.stack.nginx import nginx_command
from tests.support.clients.eventsource import until
from tests.support.ports import free_port
from tests.support.processes import alive, dies_with_the_tests
from tests.support.programs import OPENSSL, need
from tests.support.stack import ROOT, Stack, command, spoken


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
    words, environ = command("nginx", str(folder), app=plain_app)
    subprocess.run(words, cwd=ROOT, env=environ, check=True)
    text = (folder / "site.conf").read_text()
    for old, new in {
        r"/etc/ssl/certs/push.example.com.pem": f"{folder}/cert.pem",
        r"/etc/ssl/private/push.example.com.key": f"{folder}/key.pem",
        r"/var/log/nginx/pushsvc.log": f"{folder}/access.log",
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
    with httpx.Client(base_url=f"https://localhost:{port}", verify=trust, trust_env=False, timeout=40) as client:

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


def test_nginx_sends_nobody_to_its_own_name_and_port(stack: Stack) -> None:
    for path in ("/v1", "/events/", "/history/", "/.pushsvc"):
        answer = httpx.get(stack.url + path, headers={"Host": "push.example.com"}, trust_env=False)
        assert (answer.status_code, answer.headers["content-type"].partition("/")[0]) == (404, "application")


def test_a_balancer_s_check_names_no_host(stack: Stack) -> None:
    """HAProxy's `option httpchk` and its kin speak HTTP/1.0."""
    assert spoken(stack.url, b"GET /readyz HTTP/1.0\r\n\r\n")[0] == 200


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x", 400),
        ("G\x01T / HTTP/1.1\r\nHost: a", 400),
        ("TRACE / HTTP/1.1\r\nHost: a", 405),
        ("POST /publish HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: odd", 501),
        ("GET / HTTP/3.1\r\nHost: a", 505),
        ("GET /" + "x" * 140_000 + " HTTP/1.1\r\nHost: a", 414),
        ("GET / HTTP/1.1\r\nHost: a\r\nCookie: " + "x" * 140_000, 431),
        ("POST /publish HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999", 413),
    ],
)
def test_malformed_requests_are_problems(stack: Stack, request_line: str, status: int) -> None:
    given, headers, body = spoken(stack.url, f"{request_line}\r\n\r\n".encode())
    assert given == status
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["status"] == status
    assert ("allow" in headers) == (status == 405)


def test_what_up_cannot_share_with_nginx_is_a_file(tmp_path: Path) -> None:
    """nginx cannot open a socket, which standard error is under systemd."""
    words = [sys.executable, "-c", "import sys; from pathlib import Path; from pushsvc.config import Settings\n"
             "from pushsvc.stack.nginx import nginx_command\n"
             "print(*nginx_command(Settings(data_dir=Path(sys.argv[1]))), sep='\\n')", str(tmp_path)]  # fmt: skip
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for stderr, log in (
            (theirs.fileno(), tmp_path / "nginx" / "refused.log"),
            (subprocess.PIPE, Path("/dev/stderr")),
        ):
            done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True, check=True)
            assert f'access_log "{log}" ' in (tmp_path / "nginx" / "nginx.conf").read_text()
            subprocess.run([*done.stdout.splitlines(), "-t"], stderr=stderr, check=True)


def test_the_operators_site_is_written_once(tmp_path: Path) -> None:
    folder = tmp_path / "a b" / "nginx"
    for app, name in (("127.0.0.1:8000", "push.example.org"), ("unix:/run/pushsvc.sock", "other.example.org")):
        words, environ = command("nginx", str(folder), app=app, public_url=f"https://{name}/push")
        subprocess.run(words, cwd=ROOT, env=environ, check=True)
        assert f"server {app} " in (folder / "http.conf").read_text()
        assert "server_name push.example.org;" in (folder / "site.conf").read_text()
    assert not re.search("@[A-Z]", "".join(path.read_text() for path in folder.iterdir()))


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file" / "x", tmp_path / 'a"b'):
        words, environ = command("nginx", str(folder))
        done = subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        ("/tickets", 600_000, 413),
        ("/ack", 600_000, 413),
        ("/publish", 5 * 2**20, 401),
        ("/publish", 9 * 2**20, 413),
        ("/v1/generations", 5 * 2**20, 401),
    ],
)
def test_a_large_body_of_a_stranger_reaches_no_disk(stack: Stack, path: str, size: int, status: int) -> None:
    """nginx would keep it where Redis writes, before the worker could say that nobody may send it."""
    body = b'{"messages": "' + b"x" * size + b'"}'
    headers = {"Content-Type": "application/json"}
    assert httpx.post(f"{stack.url}{path}", content=body, headers=headers, trust_env=False).status_code == status
    kept = (stack.data_dir / "nginx").glob("client_body*/**/*")
    assert [each for each in kept if each.is_file()] == []
