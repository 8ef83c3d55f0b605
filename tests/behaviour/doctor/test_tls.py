"""`python -m pushsvc doctor` and HTTPS that is set up wrong."""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pushsvc.config import Settings
from pushsvc.doctor import surface, tls
from pushsvc.doctor.site import Site, find_site
from pushsvc.doctor.visit import from_outside
from tests.conftest import Start
from tests.support.certificates import make_certificate
from tests.support.doctor import look, site
from tests.support.others.proxies import Nginx
from tests.support.stack import SECRET, Stack

Front = Callable[..., Site]


@pytest.fixture
def front(stack: Stack, tmp_path: Path) -> Iterator[Front]:
    """The stack behind an nginx that serves HTTPS."""
    running: list[Nginx] = []

    def starter(
        server: str = "http2 on;", *, days: float = 30, host: str = "localhost", trusted: bool = True, of: Stack = stack
    ) -> Site:
        file, key = make_certificate(tmp_path, "push", days=days)
        words = f"ssl_certificate {file}; ssl_certificate_key {key}; {server}"
        running.append(Nginx(tmp_path / f"front{len(running)}", of.url, "proxy_buffering off;", words, "ssl"))
        trust = ssl.create_default_context(cafile=str(file)) if trusted else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return dataclasses.replace(site(f"https://{host}:{running[-1].port}"), trust=trust)

    yield starter
    for each in running:
        each.stop()


def test_good_https(front: Front) -> None:
    at = front()
    assert look(tls.certificate, at).text.startswith("it is good for localhost, for ")
    assert look(tls.http_version, at).text == "HTTP/2: a browser may open many streams"


def test_a_certificate_that_ends_soon(front: Front) -> None:
    finding = look(tls.certificate, front(days=3))
    assert finding.text.startswith("it ends in ")
    assert "renew it now" in finding.mend


@pytest.mark.parametrize(
    ("wrong", "words", "mend"),
    [
        ({"days": -1}, "expired", "renew it"),
        ({"host": "127.0.0.1"}, "mismatch", "a certificate with the name 127.0.0.1"),
        ({"trusted": False}, "self-signed", "fullchain.pem"),
        ({"days": 91}, "not yet valid", "set-ntp"),
    ],
)
def test_a_certificate_that_browsers_refuse(front: Front, wrong: dict[str, object], words: str, mend: str) -> None:
    """The token is not sent there."""
    [finding] = from_outside(front(**wrong))
    assert finding.check == "certificate"
    assert words in finding.text
    assert mend in finding.mend


def test_the_certificate_of_this_machine(shared: Start) -> None:
    own = shared(tls="self-signed", heartbeat_seconds=1)
    at = find_site("", "", Settings.model_validate({**own.settings, "workers": 1}), lambda: SECRET)
    assert look(tls.certificate, at).text.startswith("it is that of PUSHSVC_TLS")
    assert look(surface.readiness, at).text == f"{own.url} is ready"


def test_no_http2(front: Front) -> None:
    finding = look(tls.http_version, front("http2 off;"))
    assert "no HTTP/2" in finding.text
    assert "http2 on;" in finding.mend


def test_plain_http() -> None:
    elsewhere = Site("http://push.example.com", "", "", Settings(), ssl.create_default_context())
    [finding] = from_outside(elsewhere)
    assert "travel in plain text" in finding.text
    assert "PUSHSVC_TLS" in finding.mend


def test_cookies_that_are_not_secure(front: Front) -> None:
    """The proxy's word for the scheme is not believed, as the service does not know the proxy."""
    at = front()
    finding = look(surface.cookies, at)
    assert "cookies are not Secure" in finding.text
    assert f"PUSHSVC_PUBLIC_URL={at.url}" in finding.mend


def test_cookies_that_are(front: Front, shared: Start) -> None:
    assert look(surface.cookies, front(of=shared(public_url="https://localhost"))).text == "a ticket's cookie is Secure"
