"""The examples of the frameworks, under each framework's own server, in Chromium."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.support.clients.eventsource import until
from tests.support.ports import free_port
from tests.support.processes import dies_with_the_tests
from tests.support.stack import ROOT, Stack

EXAMPLES: Final = ROOT / "examples"
MOST_LINES: Final = 12
TRANSACTIONS: Final = """
from django.db import transaction
from pushsvc.contrib.django import publish_in_transaction, publish_on_commit
try:
    with transaction.atomic():
        publish_on_commit("lost", user="eve")
        publish_in_transaction("lost too", user="eve")
        raise KeyError
except KeyError:
    pass
with transaction.atomic():
    publish_on_commit("kept", user="eve")
    publish_in_transaction("kept too", user="eve")
"""


class Sites:
    """A stack, and applications on other ports of its host."""

    def __init__(self, folder: Path) -> None:
        self.ports = {name: free_port() for name in ("flask", "fastapi", "django")}
        origins = ",".join(f"http://127.0.0.1:{port}" for port in self.ports.values())
        self.stack = Stack(folder / "stack", workers=1, allowed_origins=origins)
        self.database = folder / "shop.sqlite3"
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("PUSHSVC_")} | {
            "PUSHSVC_URL": self.stack.url,
            "PUSHSVC_TOKEN": self.stack.token(publish=["*"], subscribe=["*"]),
            "PYTHONPATH": str(ROOT),
            "APP_DATABASE": str(self.database),
        }
        self._running: list[subprocess.Popen[bytes]] = []

    def run(self, folder: str, *words: str) -> None:
        self._running.append(
            subprocess.Popen(
                [sys.executable, *words], cwd=EXAMPLES / folder, env=self.environ, stderr=subprocess.DEVNULL,
                preexec_fn=dies_with_the_tests(signal.SIGKILL),
            )
        )  # fmt: skip

    def serve(self, name: str, *words: str) -> str:
        """Run its server; gives its address once it answers."""
        url = f"http://127.0.0.1:{self.ports[name]}"
        self.run(name, *(word.replace("PORT", str(self.ports[name])) for word in words))

        def answers() -> bool:
            try:
                return httpx.get(url, trust_env=False).status_code == 200
            except httpx.TransportError:
                return False

        until(answers, name)
        return url

    def close(self) -> None:
        for each in self._running:
            each.terminate()
            each.wait(30)
        self.stack.stop()


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    made = Sites(tmp_path_factory.mktemp("sites"))
    yield made
    made.close()


def live(page: Page) -> None:
    page.wait_for_function("window.push?.state == 'open'")


def test_flask_tells_the_user_of_an_order(sites: Sites, page: Page) -> None:
    url = sites.serve("flask", "-m", "flask", "--app", "app", "run", "--port", "PORT")
    refused = httpx.get(f"{url}/push/ticket", trust_env=False)
    assert (refused.status_code, refused.json()) == (401, None)
    assert httpx.get(f"{url}/push/ticket", headers={"Sec-Fetch-Site": "same-site"}, trust_env=False).status_code == 403
    bob = page.context.browser.new_page() if page.context.browser else page
    for tab, user in ((page, "alice"), (bob, "bob")):
        tab.goto(f"{url}/login?user={user}")
        live(tab)
    second = page.context.new_page()
    second.goto(url)
    live(second)
    page.click("button")
    for tab in (page, second):
        expect(tab.locator("#paid")).to_have_text("order 7 is paid")
    expect(bob.locator("#paid")).to_have_text("")
    bob.close()


def test_fastapi_streams_an_answer(sites: Sites, page: Page) -> None:
    url = sites.serve("fastapi", "-m", "uvicorn", "app:app", "--port", "PORT", "--log-level", "error")
    page.goto(f"{url}/login?name=carol")
    page.goto(url)
    live(page)
    page.fill("input", "what is it?")
    page.click("button")
    expect(page.locator("#answer")).to_have_text("You asked: what is it? ")


def test_django_shows_a_job_and_what_its_transaction_told(sites: Sites, page: Page) -> None:
    words = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(words, cwd=EXAMPLES / "django", env=sites.environ, check=True)
    drift = [sys.executable, "manage.py", "makemigrations", "--check", "--dry-run", "pushsvc"]
    subprocess.run(drift, cwd=EXAMPLES / "django", env=sites.environ, check=True, stdout=subprocess.DEVNULL)
    url = sites.serve("django", "manage.py", "runserver", "--noreload", "PORT")
    sites.run("django", "-m", "pushsvc", "relay", f"sqlite:///{sites.database}")
    page.goto(f"{url}/login?user=dora")
    live(page)
    page.click("button")
    expect(page.locator("#said")).to_have_text("started finished")
    expect(page.locator("#bar")).to_have_js_property("value", 1)
    words = [sys.executable, "manage.py", "shell", "--no-imports", "-c", TRANSACTIONS]
    subprocess.run(words, cwd=EXAMPLES / "django", env=sites.environ, check=True)
    until(lambda: len(sites.stack.kept("eve")) == 2, "what was committed")
    assert {each["data"] for each in sites.stack.kept("eve")} == {"kept", "kept too"}


@pytest.mark.parametrize("name", ["flask", "fastapi", "django"])
def test_a_team_s_own_lines_are_few(name: str) -> None:
    """All lines that would not be there without the service."""
    files = [each for each in (EXAMPLES / name).rglob("*") if each.suffix in (".py", ".html")]
    code = [re.sub(r'^""".*?"""', "", each.read_text(), count=1, flags=re.DOTALL) for each in files]
    lines = [line for text in code for line in text.splitlines() if re.search("push", line, re.IGNORECASE)]
    assert len(lines) <= MOST_LINES, "\n".join(lines)
