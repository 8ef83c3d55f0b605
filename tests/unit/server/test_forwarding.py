"""A proxy's words about its client: believed of those whom a setting names, and dropped where anybody else says it."""

from __future__ import annotations

from typing import Any

import pytest

from pushsvc.config import Settings
from pushsvc.server.forwarding import Forwarding


def seen(peer: str, path: str = "/events", **settings: str) -> dict[str, Any]:
    """The environ that the application gets from this peer."""
    headers = {name: settings.pop(name) for name in [*settings] if name.startswith("HTTP_")}
    environ = {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http", "PATH_INFO": path, "SCRIPT_NAME": ""} | headers
    given = Settings.from_env({f"PUSHSVC_{name.upper()}": value for name, value in settings.items()})
    found: dict[str, Any] = Forwarding(lambda environ, _: environ, given, ["/events"])(environ, None)
    return found


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "", "10.1.2.3", "::ffff:10.1.2.3", "2001:db8::7"])
def test_a_trusted_proxy_is_believed(peer: str) -> None:
    trusted = "10.0.0.0/8,2001:db8::7"
    claims = {"HTTP_X_FORWARDED_FOR": "1.1.1.1, 192.0.2.9, 10.9.9.9", "HTTP_X_FORWARDED_PROTO": "https,http"}
    environ = seen(peer, trusted_proxies=trusted, **claims)
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("192.0.2.9", "https")


@pytest.mark.parametrize("peer", ["192.0.2.1", "11.0.0.1", "2001:db8::8"])
def test_a_stranger_is_not(peer: str) -> None:
    claims = {"HTTP_X_FORWARDED_FOR": "192.0.2.9", "HTTP_X_FORWARDED_PROTO": "https"}
    environ = seen(peer, trusted_proxies="10.0.0.0/8,2001:db8::7", **claims)
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == (peer, "http")
    assert not claims.keys() & environ.keys()


@pytest.mark.parametrize(
    ("claimed", "scheme"),
    [("https", "https"), ("HTTPS , http", "https"), ("http,https", "http"), ("wss", "https"), ("gopher", "http")],
)
def test_the_browsers_scheme_is_the_first_of_a_list(claimed: str, scheme: str) -> None:
    assert seen("127.0.0.1", HTTP_X_FORWARDED_PROTO=claimed)["wsgi.url_scheme"] == scheme


@pytest.mark.parametrize(
    ("claimed", "address"),
    [
        ("192.0.2.9:4711", "192.0.2.9"),
        ("[2001:db8::9]:4711", "2001:db8::9"),
        ("unknown, 192.0.2.9", "192.0.2.9"),
        ("192.0.2.9, unknown", "127.0.0.1"),
        ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
    ],
)
def test_the_clients_address(claimed: str, address: str) -> None:
    assert seen("127.0.0.1", trusted_proxies="10.0.0.0/8", HTTP_X_FORWARDED_FOR=claimed)["REMOTE_ADDR"] == address


def test_nobody_is_believed_about_prefix_and_host() -> None:
    claims = {"HTTP_X_FORWARDED_PREFIX": "/evil", "HTTP_X_FORWARDED_HOST": "evil.example", "HTTP_FORWARDED": "host=e"}
    assert not claims.keys() & seen("127.0.0.1", trusted_proxies="127.0.0.1", **claims).keys()


@pytest.mark.parametrize(
    ("path", "script", "rest"),
    [
        ("/push/events", "/push", "/events"),
        ("/push", "/push", "/"),
        ("/push/", "/push", "/"),
        ("/events", "", "/events"),
        ("/pushed/events", "", "/pushed/events"),
    ],
)
def test_each_path_is_served_with_and_without_that_of_the_public_url(path: str, script: str, rest: str) -> None:
    environ = seen("192.0.2.1", path, public_url="https://example.com/push")
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script, rest)


def test_a_public_path_that_is_also_one_of_ours() -> None:
    public = "https://example.com/events"
    assert seen("192.0.2.1", "/events", public_url=public)["PATH_INFO"] == "/events"
    assert seen("192.0.2.1", "/events/events", public_url=public)["PATH_INFO"] == "/events"
