"""The pages that may use a visitor's cookies: our own, however a proxy put them there, and those of allowed origins."""

from __future__ import annotations

import httpx
import pytest

from pushsvc.addresses.origins import parse
from tests.conftest import Start
from tests.support.stack import Stack

ALLOWED = ("https://app.example.com", "capacitor://localhost", "http://[::1]:3000", "http://my_app.local")
FOREIGN = (
    "null",
    "",
    "about:blank",
    "https://evil.example",
    "https://app.example.com.evil.example",
    "http://app.example.com",
)


@pytest.fixture
def ours(shared: Start) -> Stack:
    return shared(workers=1, allowed_origins=",".join(ALLOWED), public_url="https://push.example.org/push")


def publish(stack: Stack, user: str, base: str = "", **headers: str) -> httpx.Response:
    """Publish as a page does whose visitor has a token in a cookie."""
    cookie = {"Cookie": f"pushsvc_token={stack.token(user, publish=['*'])}"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return stack.post("/publish", {"user": user, "data": "-"}, cookie | named, base or stack.url)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("HTTP://Example.COM:80", "http://example.com"),
        ("https://example.com:8443", "https://example.com:8443"),
        ("http://[2001:DB8:0::1]", "http://[2001:db8::1]"),
        ("https://straße.example", "https://xn--strae-oqa.example"),
        ("app://-", "app://-"),
        *((text, None) for text in ("null", "", "about:blank", "https://a/", "https://a, https://b", "https://a@b")),
        *((text, None) for text in ("data:,x", "blob:https://a", "https://", "https://a:b", "https://a\n", "//a", "a")),
    ],
)
def test_the_normal_form_of_an_origin(text: str, origin: str | None) -> None:
    assert parse(text) == origin


@pytest.mark.parametrize("host", ["push_svc:8080", "localhost", "[::1]:8080", "PUSH.example.com"])
def test_a_page_of_the_same_host_is_ours(stack: Stack, user: str, host: str) -> None:
    for base in (stack.url, stack.app_url):
        assert publish(stack, user, base, Host=host, Origin=f"http://{host.lower()}").status_code == 200
        assert publish(stack, user, base, Host=host, Origin=f"https://{host.lower()}").status_code == 200
        for foreign in (*FOREIGN, f"http://{host}1", f"http://{host}/", f"ftp://{host}"):
            assert publish(stack, user, base, Host=host, Origin=foreign).status_code == 403, foreign
    tls = {"X_Forwarded_Proto": "https", "base": stack.app_url, "Host": host}
    assert publish(stack, user, **tls, Origin=f"https://{host.lower()}").status_code == 200
    assert publish(stack, user, **tls, Origin=f"http://{host.lower()}").status_code == 403, (
        "anybody may write that page"
    )


def test_a_page_of_ours_behind_a_proxy_that_rewrites_host(stack: Stack, user: str) -> None:
    origin = {"Host": "127.0.0.1:8000", "Origin": "https://push.example.org"}
    assert publish(stack, user, **origin, Sec_Fetch_Site="same-origin").status_code == 200
    for site in ("same-site", "cross-site", "none", ""):
        assert publish(stack, user, **origin, Sec_Fetch_Site=site).status_code == 403
    assert publish(stack, user, Origin="null", Sec_Fetch_Site="same-origin").status_code == 403
    cookie = {"Cookie": f"pushsvc_token={stack.token(user)}"} | origin
    asked = {"messages": [{"role": "user", "content": "q"}]}
    mine = stack.post("/v1/generations", asked, cookie | {"Sec-Fetch-Site": "same-origin"})
    assert mine.status_code == 202
    assert stack.post("/v1/generations", asked, cookie | {"Sec-Fetch-Site": "same-site"}).status_code == 403
    url = f"{stack.url}/v1/generations/{mine.json()['id']}"
    for site, status in (("cross-site", 403), ("same-origin", 200)):
        given = httpx.delete(url, headers=cookie | {"Sec-Fetch-Site": site}, trust_env=False).status_code
        assert given == status


@pytest.mark.parametrize("origin", [*ALLOWED, "https://push.example.org"])
@pytest.mark.parametrize("site", ["cross-site", "same-site", None])
def test_allowed_origins_and_that_of_the_public_url_are_ours(
    ours: Stack, user: str, origin: str, site: str | None
) -> None:
    fetched = {"Sec_Fetch_Site": site} if site else {}
    answer = publish(ours, user, Origin=origin, **fetched)
    assert answer.status_code == 200
    assert answer.headers.get("access-control-allow-origin") == (origin if origin in ALLOWED else None)


@pytest.mark.parametrize("origin", FOREIGN)
def test_other_origins_are_foreign(ours: Stack, user: str, origin: str) -> None:
    answer = publish(ours, user, Origin=origin)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
