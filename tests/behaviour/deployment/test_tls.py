"""PUSHSVC_TLS: HTTPS and HTTP/2 in the nginx of `up`."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from playwright.sync_api import Browser

from pushsvc.client import Listener, Publisher, PublishError
from tests.conftest import Start
from tests.support.certificates import make_certificate
from tests.support.clients import http2
from tests.support.clients.eventsource import until
from tests.support.others.ocsp import Issuer
from tests.support.stack import ROOT, Stack, command, connections


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with a certificate of its own making."""
    running = Stack(tmp_path_factory.mktemp("tls"), tls="self-signed")
    yield running
    running.stop()


@pytest.fixture
def client(secured: Stack) -> Iterator[httpx.Client]:
    trust = ssl.create_default_context(cafile=secured.data_dir / "tls" / "certificate.pem")
    with httpx.Client(base_url=secured.url, verify=trust, trust_env=False, timeout=60) as client:
        yield client


def test_a_ticket_and_its_cookie(secured: Stack, client: httpx.Client, user: str) -> None:
    ticket = client.post("/tickets", json={"user": user}, headers=secured.bearer(subscribe=["*"])).json()
    item = {"user": user, "data": "over tls"}
    event = client.post("/publish", json=item, headers=secured.bearer(publish=["*"])).json()
    with client.stream("GET", ticket["url"]) as answer:
        cookie = answer.headers["set-cookie"]
        assert "Secure" in cookie
        assert "strict-transport-security" not in answer.headers, "nobody could go back to plain HTTP"
        assert any(event["id"] in line for line in answer.iter_lines())


def test_the_python_client_streams_and_listens(secured: Stack, user: str) -> None:
    trust = ssl.create_default_context(cafile=secured.data_dir / "tls" / "certificate.pem")
    with Publisher(secured.url, secured.token(publish=["*"]), tls=trust) as push, push.stream() as stream:
        for number in range(2000):
            stream.publish(number, user=user)
    with Listener(secured.url, secured.token(user), since="earliest", tls=trust, on_gap=lambda _: None) as events:
        while next(events).data != "1999":
            pass
    with pytest.raises(PublishError, match="CERTIFICATE_VERIFY_FAILED"):
        Publisher(secured.url, secured.token(publish=["*"])).publish("x", user=user)


def test_more_streams_than_six_in_one_browser(secured: Stack, browser: Browser, user: str) -> None:
    """A browser opens six connections to a host over HTTP/1.1, and holds back all further requests."""
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.goto(secured.url + "/healthz")
    headers = secured.bearer(subscribe=["*"])
    verify = ssl.create_default_context(cafile=secured.data_dir / "tls" / "certificate.pem")
    urls = [
        httpx.post(
            f"{secured.url}/tickets", json={"user": user}, headers=headers, verify=verify, trust_env=False
        ).json()
        for _ in range(12)
    ]
    page.evaluate(
        """urls => {
            window.heard = 0;
            window.open12 = urls.map(url => {
                const source = new EventSource(url);
                source.addEventListener("message", () => { window.heard += 1; });
                source.addEventListener("cursor", () => { source.ready = true; });
                return source;
            });
        }""",
        [each["url"] for each in urls],
    )
    page.wait_for_function("() => window.open12.every(source => source.ready)")
    protocol = "() => performance.getEntriesByType('navigation')[0].nextHopProtocol"
    assert page.evaluate(protocol) == "h2"
    httpx.post(
        f"{secured.url}/publish",
        json={"user": user, "data": 1},
        headers=secured.bearer(publish=["*"]),
        verify=verify,
        trust_env=False,
    )
    page.wait_for_function("() => window.heard === 12")
    context.close()


def test_plain_http_is_told_so(secured: Stack) -> None:
    answer = httpx.get(secured.url.replace("https:", "http:") + "/events", trust_env=False)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert "https://" in answer.json()["detail"]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_protocols_are_refused(secured: Stack) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.ConnectError):
        httpx.get(secured.url + "/healthz", verify=context, trust_env=False)


def test_the_shell_commands_trust_it(secured: Stack, user: str) -> None:
    settings = {name: secured.settings[name] for name in ("data_dir", "http", "tls", "secret")}
    words, environ = command("publish", "from a shell", "--user", user, **settings)
    assert '"id"' in subprocess.run(words, cwd=ROOT, env=environ, check=True, capture_output=True, text=True).stdout


def test_a_renewed_certificate_is_taken_up(start: Start, tmp_path: Path) -> None:
    file, key = make_certificate(tmp_path, "first")
    stack = start(tls=f"{file},{key}")
    assert served(stack) == "CN=first"
    trust = ssl.create_default_context(cafile=file)
    port = stack.url.rpartition(":")[2]
    answer = httpx.get(f"https://localhost:{port}/healthz", verify=trust, trust_env=False)
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    with httpx.stream(
        "GET", f"https://localhost:{port}/events", headers=stack.bearer("bob"), verify=trust, trust_env=False
    ) as stream:
        lines = stream.iter_lines()
        next(lines)
        new_file, new_key = make_certificate(tmp_path, "second")
        new_key.replace(key)
        new_file.replace(file)
        until(lambda: served(stack) == "CN=second", "the renewed certificate")
        assert any(line.startswith(":") for line in lines), "the stream from before goes on"


def served(stack: Stack) -> str:
    host, _, port = str(stack.settings["http"]).rpartition(":")
    pem = ssl.get_server_certificate((host, int(port)))
    return x509.load_pem_x509_certificate(pem.encode()).subject.rfc4514_string()


def test_requests_that_are_taken_back_at_once_end_their_connection_and_leave_nothing(secured: Stack, user: str) -> None:
    """Rapid reset (CVE-2023-44487): each costs its sender nothing."""
    fields = {"authorization": secured.bearer(user)["Authorization"]}
    with secured.listen(user, base=secured.app_url) as listening:
        with http2.connected(str(secured.settings["http"])) as client:
            with suppress(OSError):
                for number in range(1, 6000, 2):
                    client.sendall(http2.get(number, "/events?since=now", fields) + http2.reset(number))
            kinds = [kind for kind, *_ in http2.frames(client)]
        assert http2.GOAWAY in kinds or not kinds, "the connection was ended before the last request"
        until(lambda: connections(secured, user) == 1, "those that were taken back to be gone")
        event = secured.post("/publish", {"user": user, "data": "-"}, secured.bearer(publish=["*"]), secured.app_url)
        listening.wait_ids(event.json()["id"])


def test_that_a_certificate_is_good_is_stapled(tmp_path: Path) -> None:
    issuer = Issuer()
    file, key = issuer.issue(tmp_path)
    stack = Stack(tmp_path / "data", tls=f"{file},{key}", workers=1)
    words = ["openssl", "s_client", "-connect", str(stack.settings["http"]), "-servername", "localhost", "-status"]
    try:
        until(
            lambda: b"OCSP Response Status: successful" in subprocess.run(words, input=b"", capture_output=True).stdout,
            "nginx to have asked the issuer, which it does once somebody has come",
        )
    finally:
        stack.stop()
        issuer.close()
    assert issuer.asked
