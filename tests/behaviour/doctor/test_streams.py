"""`python -m pushsvc doctor` behind proxies that spoil streams."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from threading import Event

import pytest

from pushsvc.config import Settings
from pushsvc.doctor import streams
from pushsvc.doctor.findings import Finding
from pushsvc.doctor.site import Site, find_site
from tests.support.doctor import look, site
from tests.support.others.proxies import Nginx, Proxy, unflushed
from tests.support.ports import free_port
from tests.support.stack import SECRET, Stack, command

IGNORED = "proxy_ignore_headers X-Accel-Buffering;"

Front = Callable[..., Site]
Check = Callable[[Site], Iterator[Finding]]


@pytest.fixture
def front(stack: Stack, tmp_path: Path) -> Iterator[Front]:
    """The stack behind an nginx."""
    running: list[Nginx] = []

    def starter(location: str, **settings: object) -> Site:
        running.append(Nginx(tmp_path / f"front{len(running)}", stack.url, location))
        return site(running[-1].url, **settings)

    yield starter
    for each in running:
        each.stop()


@pytest.mark.parametrize("check", [streams.buffering, streams.compression, streams.idle])
def test_a_good_proxy(front: Front, check: Check) -> None:
    assert look(check, front("proxy_buffering off; gzip on; gzip_types text/event-stream;")).mend == ""


def test_a_proxy_that_buffers(front: Front) -> None:
    finding = look(streams.buffering, front(f"proxy_http_version 1.0; proxy_buffering on; {IGNORED}"))
    assert "nginx collects events" in finding.text
    assert "proxy_buffering off;, in nginx" in finding.mend


def test_a_proxy_that_compresses_without_a_flush(stack: Stack) -> None:
    proxy = Proxy(stack.url, body=unflushed, gzip=True)
    try:
        assert look(streams.buffering, site(proxy.url)).mend == ""
        finding = look(streams.compression, site(proxy.url))
    finally:
        proxy.stop()
    assert "compresses streams and collects events" in finding.text
    assert "text/event-stream" in finding.mend


def test_a_proxy_that_loses_patience(front: Front) -> None:
    finding = look(streams.idle, front("proxy_buffering off; proxy_read_timeout 200ms;"))
    assert "was cut after" in finding.text
    assert "with 0 heartbeats" in finding.text
    assert "proxy_read_timeout 1h" in finding.mend


def test_no_heartbeat(stack: Stack) -> None:
    proxy = Proxy(stack.url, body=lambda pieces: (each for each in pieces if b"event: heartbeat" not in each))
    try:
        finding = look(streams.idle, site(proxy.url))
    finally:
        proxy.stop()
    assert "no heartbeat came" in finding.text
    assert "PUSHSVC_HEARTBEAT_SECONDS" in finding.mend


def spoiled(stack: Stack, check: Check, body: Callable[[Iterator[bytes]], Iterator[bytes]]) -> Finding:
    proxy = Proxy(stack.url, body=body)
    try:
        return look(check, site(proxy.url))
    finally:
        proxy.stop()


def late(seconds: float) -> Callable[[Iterator[bytes]], Iterator[bytes]]:
    """Send each piece late, as a proxy does that collects for a while; HAProxy does so in clear text for 0.2 s."""

    def body(pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            Event().wait(seconds)
            yield piece

    return body


@pytest.mark.parametrize(
    ("check", "words", "mend"),
    [
        (streams.buffering, "the proxy holds events back", "option http-no-delay"),
        (streams.compression, "compresses streams and holds events back", "no compression"),
    ],
)
def test_a_proxy_that_is_late(stack: Stack, check: Check, words: str, mend: str) -> None:
    finding = spoiled(stack, check, late(1.1))
    assert words in finding.text
    assert mend in finding.mend


def test_the_way_of_an_event_is_compared_with_the_direct_one(stack: Stack) -> None:
    proxy = Proxy(stack.url, body=late(0.2))
    try:
        compared = look(streams.buffering, site(proxy.url, app=stack.settings["app"]))
        assert "the proxy holds events back: each arrived after 2" in compared.text
        assert "ms, straight from the worker " in compared.text
        assert "option http-no-delay (in defaults" in compared.mend
        elsewhere = look(streams.buffering, site(proxy.url, app=f"127.0.0.1:{free_port()}"))
        assert "ms, the answer to its publish 2" in elsewhere.text
    finally:
        proxy.stop()


def test_a_proxy_that_cuts_at_once(stack: Stack) -> None:
    assert "cut as soon as it had begun" in spoiled(stack, streams.buffering, lambda pieces: islice(pieces, 1)).text


def test_a_service_that_refuses_for_now(stack: Stack) -> None:
    refused = b'event: refused\ndata: {"status": 503, "detail": "This worker is full."}\n\n'
    finding = spoiled(stack, streams.buffering, lambda _: iter([refused]))
    assert finding.text == "the service refuses streams now: This worker is full."


def test_a_token_that_may_not_publish(stack: Stack) -> None:
    at = find_site(stack.url, stack.token("alice"), Settings(), lambda: "")
    finding = look(streams.buffering, at)
    assert "no event can be published: 403" in finding.text
    assert "--user alice --publish user:alice" in finding.mend


def test_a_token_that_is_not_good(stack: Stack) -> None:
    at = find_site(stack.url, "", Settings(), lambda: "another-key-that-the-service-does-not-have")
    assert "no stream opens: 401" in look(streams.buffering, at).text


def doctor(stack: Stack, *url: str, **settings: str) -> subprocess.CompletedProcess[str]:
    given = {"heartbeat_seconds": 1, "secret": SECRET, "data_dir": stack.data_dir / "elsewhere"} | settings
    words, environ = command("doctor", *url, **given)
    return subprocess.run(words, env=environ, capture_output=True, text=True, timeout=120)


def test_all_is_well(stack: Stack) -> None:
    done = doctor(stack, stack.url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WRONG" not in done.stdout
    assert "well   idle time-out: a stream stayed open" in done.stdout


def test_something_is_wrong(stack: Stack, front: Front) -> None:
    done = doctor(stack, front("proxy_buffering off; proxy_read_timeout 200ms;").url)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "WRONG  idle time-out: a stream was cut" in done.stdout
    assert "       mend: " in done.stdout


def test_public_url_is_looked_at_where_it_answers(stack: Stack, front: Front) -> None:
    at = {"http": str(stack.settings["http"])}
    public = front("proxy_buffering off; proxy_read_timeout 200ms;").url
    assert "nginx" in doctor(stack, public_url=public, **at).stdout.partition("mend: ")[2]
    done = doctor(stack, public_url=f"http://127.0.0.1:{free_port()}", **at)
    assert "note   PUBLIC_URL: from here http://127.0.0.1:" in done.stdout
    assert "well   idle time-out" in done.stdout
