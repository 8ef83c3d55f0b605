"""The service under a path of another host, behind a proxy that strips the path or not, and rewrites Host or not."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Page, expect

from pushsvc.config import Settings
from pushsvc.stack.nginx import nginx_command
from tests.conftest import Start
from tests.support.clients.eventsource import EventSource, until
from tests.support.ports import free_port
from tests.support.processes import dies_with_the_tests
from tests.support.stack import Stack

_PROXY = """
%(user)s daemon off; pid proxy.pid; events {}
http {
    access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u;
    scgi_temp_path s;
    server { listen %(listen)s; location %(at)s { proxy_pass %(to)s; } }
}
"""


class Behind(NamedTuple):
    """A stack, and what browsers call it."""

    stack: Stack
    url: str


@pytest.fixture(scope="module", params=["strips", "keeps"])
def behind(request: pytest.FixtureRequest, shared: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    """A stack behind nginx as people write it: `proxy_pass` and nothing else, so that Host is rewritten too."""
    folder = tmp_path_factory.mktemp("proxy")
    listen = f"127.0.0.1:{free_port()}"
    public = f"http://{listen}/a/push"
    stack = shared(workers=1, public_url=public)
    at, to = ("/a/push/", stack.url + "/") if request.param == "strips" else ("/a/push", stack.url)
    (folder / "proxy.conf").write_text(_PROXY % {"user": "user root;", "listen": listen, "at": at, "to": to})
    binary = nginx_command(Settings(data_dir=folder / "unused"))[0]
    process = subprocess.Popen(
        [binary, "-p", folder, "-c", folder / "proxy.conf", "-e", "stderr"],
        preexec_fn=dies_with_the_tests(signal.SIGTERM),
    )
    try:
        until(lambda: is_up(f"{public}/healthz"), "the proxy")
        yield Behind(stack, public)
    finally:
        process.terminate()
        process.wait()


def is_up(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.ConnectError:
        return False


def bases(behind: Behind) -> list[str]:
    """All ways to call the service: through the proxy, and past it with and without the path."""
    path = urlsplit(behind.url).path
    mine = behind.stack
    return [behind.url, mine.url, mine.url + path, mine.app_url, mine.app_url + path]


def test_each_path_is_served_with_and_without_the_public_one(behind: Behind, user: str) -> None:
    stack = behind.stack
    for base in bases(behind):
        assert httpx.get(f"{base}/readyz", trust_env=False).status_code == 200
        with EventSource(f"{base}/events", stack.bearer(user)).wait_open() as source:
            body, bearer = {"user": user, "data": "-"}, stack.bearer(publish=["*"])
            source.wait_ids(stack.post("/publish", body, bearer, base).json()["id"])
        missing = stack.post("/v1/nothing", {}, stack.bearer(user), base)
        assert (missing.status_code, [*missing.json()]) == (404, ["error"]), "what is under /v1 is known as such"
    for nothing in ("/a/pushed/readyz", "/.pushsvc/problem", "/a/push/.pushsvc/away/stream", "/a/push//%2Epushsvc/v1"):
        assert httpx.get(f"{stack.url}{nothing}", trust_env=False).status_code == 404


def test_addresses_are_absolute_whatever_a_client_claims(behind: Behind, user: str) -> None:
    stack = behind.stack
    claims = {"X-Forwarded-Prefix": "/evil", "X-Forwarded-Host": "evil.example", "Host": "evil.example"}
    for base in bases(behind):
        headers = stack.bearer(user, subscribe=["*"]) | claims
        ticket = stack.post("/tickets", {"user": user}, headers, base).json()
        assert ticket["url"].startswith(f"{behind.url}/events?ticket=")
        asked = stack.post("/v1/generations", {"messages": [{"role": "user", "content": "q"}]}, headers, base).json()
        assert asked["url"].startswith(f"{behind.url}/v1/generations/")
        for url in (ticket["url"], asked["url"]):
            with EventSource(url, {"Sec-Fetch-Site": "same-origin"}).wait_open() as source:
                assert source.statuses == [200]


def test_without_a_public_url_addresses_are_relative(stack: Stack, user: str) -> None:
    claims = {"X-Forwarded-Prefix": "/evil", "X-Forwarded-Host": "evil.example", "Script-Name": "/evil"}
    for base in (stack.url, stack.app_url):
        headers = stack.bearer(user, subscribe=["*"]) | claims
        assert stack.post("/tickets", {"user": user}, headers, base).json()["url"].startswith("/events?ticket=")


def test_cookies_of_a_public_https_url_are_secure(shared: Start, user: str) -> None:
    stack = shared(workers=1, public_url="https://push.example.com")
    ticket = stack.post("/tickets", {"user": user}, stack.bearer(subscribe=["*"])).json()["url"]
    assert ticket.startswith("https://push.example.com/events?")
    own = {"Sec-Fetch-Site": "same-origin"}
    with httpx.stream(
        "GET", stack.url + ticket.removeprefix("https://push.example.com"), headers=own, trust_env=False
    ) as answer:
        assert "; Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize(("trusted", "secure"), [("127.0.0.0/8,::1", True), ("", False)])
def test_a_trusted_proxy_before_our_nginx_names_the_scheme(
    shared: Start, user: str, trusted: str, secure: bool
) -> None:
    stack = shared(workers=1, trusted_proxies=trusted)
    for claimed in ("https", "HTTPS, http"):
        url = stack.post("/tickets", {"user": user}, stack.bearer(subscribe=["*"])).json()["url"]
        headers = {"Sec-Fetch-Site": "same-origin", "X-Forwarded-Proto": claimed}
        with httpx.stream("GET", stack.url + url, headers=headers, trust_env=False) as answer:
            assert ("; Secure" in answer.headers["set-cookie"]) is secure


def test_the_pages_work_under_the_path(behind: Behind, page: Page, user: str) -> None:
    """Their requests with a cookie work, too, though the proxy rewrites Host."""
    stack = behind.stack
    page.goto(stack.page(f"/?user={user}").replace(stack.url, behind.url))
    assert page.url == f"{behind.url}/?user={user}"
    expect(page.locator("#state")).to_have_attribute("data-state", "open")
    page.fill("#data", f"{user} from the page")
    page.click("#send")
    expect(page.locator("#events .event").filter(has_text=f"{user} from the page")).to_have_count(1)
    page.goto(f"{behind.url}/chat")
    page.fill("#prompt", "Hello")
    page.press("#prompt", "Enter")
    expect(page.locator("main")).to_contain_text("You said: “Hello”")
    page.goto(f"{behind.url}/demo")
    expect(page.locator("body")).to_contain_text(re.compile(r"\d\d:\d\d:\d\d"))
    page.goto(f"{behind.url}/console")
    page.fill("#token", stack.token("admin", admin=True))
    page.press("#token", "Enter")
    expect(page.locator("#state")).to_have_text("Live.")
