"""The proxies of the environment, and where each leads."""

from __future__ import annotations

import pytest

from pushsvc.errors import ConfigError
from pushsvc.llm.models.proxies import Proxies
from pushsvc.llm.models.request import Origin

HTTPS = Origin("https", "api.example.com", 443)
HTTP = Origin("http", "10.0.0.7", 8081)


@pytest.mark.parametrize(
    ("environment", "https", "http"),
    [
        ({}, None, None),
        ({"HTTPS_PROXY": "http://p:3128"}, "p", None),
        ({"http_proxy": "p:3128"}, None, "p"),
        ({"ALL_PROXY": "http://p"}, "p", "p"),
        ({"ALL_PROXY": "http://p", "NO_PROXY": "example.com"}, None, "p"),
        ({"ALL_PROXY": "http://p", "no_proxy": "other.com, 10.0.0.7"}, "p", None),
        ({"ALL_PROXY": "http://p", "NO_PROXY": "10.0.0.7:8081"}, "p", None),
        ({"ALL_PROXY": "http://p", "NO_PROXY": "*"}, None, None),
        ({"HTTP_PROXY": "http://a", "HTTPS_PROXY": "http://b"}, "b", "a"),
        ({"ALL_PROXY": "socks5://p", "HTTPS_PROXY": "", "NO_PROXY": "10.0.0.7,example.com"}, None, None),
    ],
)
def test_the_environment(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], https: str | None, http: str | None
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = [Proxies().towards(each) for each in (HTTPS, HTTP)]
    assert [each and each.host for each in found] == [https, http]


@pytest.mark.parametrize("address", ["socks5://p:1080", "https://p", "http://", "http://[p"])
def test_proxies_that_are_not_spoken_to(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", address)
    with pytest.raises(ConfigError, match="HTTPS_PROXY should be such as"):
        Proxies().towards(HTTPS)
