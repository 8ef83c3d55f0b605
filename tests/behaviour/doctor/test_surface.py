"""`python -m pushsvc doctor` behind proxies that change what is answered."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Iterator

import pytest

from pushsvc.config import Settings
from pushsvc.doctor import surface
from pushsvc.doctor.findings import Finding
from pushsvc.doctor.site import Site, find_site
from pushsvc.doctor.visit import from_outside
from tests.conftest import Start
from tests.support.doctor import look, site
from tests.support.others.proxies import Head, Proxy
from tests.support.ports import free_port
from tests.support.stack import Stack

ALLOWED = "https://app.example.com"

Check = Callable[[Site], Iterator[Finding]]


@pytest.fixture
def allowing(shared: Start) -> Stack:
    return shared(allowed_origins=ALLOWED, heartbeat_seconds=1)


def behind(stack: Stack, head: Callable[[Head], Head], check: Check) -> Finding:
    proxy = Proxy(stack.url, head)
    try:
        return look(check, site(proxy.url, allowed_origins=ALLOWED))
    finally:
        proxy.stop()


def without(name: str) -> Callable[[Head], Head]:
    return lambda head: [each for each in head if each[0].lower() != name]


@pytest.mark.parametrize("check", [surface.readiness, surface.clock, surface.cors, surface.cookies])
def test_a_good_proxy(allowing: Stack, check: Check) -> None:
    assert behind(allowing, lambda head: head, check).mend == ""


def test_nobody_answers() -> None:
    findings = list(from_outside(site(f"http://127.0.0.1:{free_port()}")))
    assert [(each.check, bool(each.mend)) for each in findings] == [("certificate", False), ("readiness", True)]
    assert "does not answer" in findings[-1].text


def test_a_balancer_that_does_not_speak_what_it_should() -> None:
    at = site(f"http://127.0.0.1:{free_port()}", proxy_protocol=True, trusted_proxies=("127.0.0.1/32",))
    assert "send-proxy-v2 in HAProxy" in look(surface.readiness, at).mend


def test_somebody_else_answers(stack: Stack) -> None:
    finding = look(surface.readiness, site(f"{stack.url}/elsewhere"))
    assert "is not ready: 404" in finding.text


def test_a_service_with_problems(stack: Stack) -> None:
    said = b'{"status":"ready","problems":["Redis cannot write to its disk."]}'
    proxy = Proxy(stack.url, body=lambda _: iter([said]))
    try:
        finding = look(surface.readiness, site(proxy.url))
    finally:
        proxy.stop()
    assert finding.text == "the service says: Redis cannot write to its disk."
    assert finding.mend != ""


@pytest.mark.parametrize(("seconds", "words"), [(120, "s ahead of"), (-120, "s behind")])
def test_a_wrong_clock(stack: Stack, seconds: float, words: str) -> None:
    date = email.utils.formatdate(time.time() + seconds, usegmt=True)
    finding = behind(stack, lambda head: [*without("date")(head), ("Date", date)], surface.clock)
    assert words in finding.text
    assert "set-ntp" in finding.mend


def test_no_date(stack: Stack) -> None:
    assert "have no Date" in behind(stack, without("date"), surface.clock).text


@pytest.mark.parametrize(("ttl", "words"), [(10, "the token ends in"), (-100, "s ago")])
def test_a_token_that_ends(stack: Stack, ttl: float, words: str) -> None:
    finding = look(surface.clock, find_site(stack.url, stack.token("alice", ttl=ttl), Settings(), lambda: ""))
    assert words in finding.text
    assert "pushsvc token --user alice" in finding.mend


def test_a_token_of_another_secret(stack: Stack) -> None:
    at = find_site(stack.url, "", Settings(), lambda: "another-key-that-the-service-does-not-have")
    assert "the token is refused: 401" in look(surface.clock, at).text


def test_an_origin_that_the_service_does_not_know(stack: Stack) -> None:
    finding = look(surface.cors, site(stack.url, allowed_origins=ALLOWED))
    assert f"pages of {ALLOWED} may not read answers" in finding.text
    assert f"PUSHSVC_ALLOWED_ORIGINS={ALLOWED}" in finding.mend


@pytest.mark.parametrize("origin", ["*", "https://stranger.invalid"])
def test_a_proxy_that_lets_anybody_read(stack: Stack, origin: str) -> None:
    finding = behind(stack, lambda head: [*head, ("Access-Control-Allow-Origin", origin)], surface.cors)
    assert "any site may read answers" in finding.text


def test_a_proxy_that_says_it_twice(allowing: Stack) -> None:
    finding = behind(allowing, lambda head: [*head, ("Access-Control-Allow-Origin", ALLOWED)], surface.cors)
    assert "comes 2 times" in finding.text
    assert "add_header" in finding.mend


@pytest.mark.parametrize(
    ("name", "words"),
    [("access-control-allow-credentials", "may send no cookies"),
     ("access-control-allow-headers", "may not send authorization, content-type")],
)  # fmt: skip
def test_a_proxy_that_drops_what_cors_needs(allowing: Stack, name: str, words: str) -> None:
    assert words in behind(allowing, without(name), surface.cors).text


def test_a_proxy_that_drops_cookies(stack: Stack) -> None:
    assert "does not arrive" in behind(stack, without("set-cookie"), surface.cookies).text
