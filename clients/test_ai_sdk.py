"""examples/ai-sdk in Chromium, built from the real packages: a reload, a second tab, and Stop."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from clients.drivers.runtimes import MODULES
from tests.support import programs
from tests.support.clients.eventsource import until
from tests.support.models.answers import running
from tests.support.models.model import HEAD, Conversation, Model
from tests.support.stack import ROOT, Stack

EXAMPLE = ROOT / "examples/ai-sdk"
Open = tuple[Stack, str, Model]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example as `npm run build` makes it."""
    if not (MODULES / ".bin/esbuild").exists():
        pytest.skip("there is no clients/node_modules; `make clients` makes it")
    made = tmp_path_factory.mktemp("example")
    (made / "index.html").write_text((EXAMPLE / "index.html").read_text())
    (made / "chat.jsx").write_text((EXAMPLE / "chat.jsx").read_text())
    (made / "node_modules").symlink_to(MODULES)
    words = ["--bundle", "--jsx=automatic", "--outfile=chat.js"]
    subprocess.run([MODULES / ".bin/esbuild", "chat.jsx", *words], cwd=made, check=True, capture_output=True)
    return made


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    server, model = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))), Model()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    origin = f"http://127.0.0.1:{server.server_address[1]}"
    stack = Stack(tmp_path_factory.mktemp("site"), allowed_origins=origin, llm_base_url=model.url)
    yield stack, origin, model
    stack.stop()
    model.close()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=20_000)  # ms: a busy machine is no failure
    with sync_playwright() as playwright:
        path = programs.need(programs.CHROMIUM)
        launched = playwright.chromium.launch(executable_path=path, args=programs.CHROMIUM_FLAGS)
        yield launched
        launched.close()


def begun(conversation: Conversation) -> None:
    conversation.send(HEAD).say("Hel")


def answer(page: Page, number: int = -1) -> str:
    return page.locator("p.assistant").nth(number).inner_text()


def test_a_reload_a_second_tab_and_stop(site: Open, browser: Browser) -> None:
    stack, origin, model = site
    model.script = begun
    context = browser.new_context()
    url = f"{origin}/?api={stack.url}#{stack.token('u')}"
    first, second = context.new_page(), context.new_page()
    first.goto(url)
    first.get_by_label("Question").fill("q")
    first.get_by_role("button", name="Send").click()
    expect(first.locator("p.assistant")).to_have_text("Hel")
    first.reload()
    expect(first.locator("p.assistant")).to_have_text("Hel")
    second.goto(url)
    expect(second.locator("p.assistant")).to_have_text("Hel")
    model.asked().say("lo").done()
    for page in (first, second):
        expect(page.locator("p.assistant")).to_have_text("Hello")
        expect(page.locator("output")).to_have_text("ready")
    assert len(model.conversations) == 1

    first.get_by_label("Question").fill("again")
    first.get_by_role("button", name="Send").click()
    expect(first.locator("p.assistant")).to_have_count(2)
    expect(first.locator("p.assistant").nth(1)).to_have_text("Hel")
    second.reload()
    expect(second.locator("p.assistant").nth(1)).to_have_text("Hel")
    second.get_by_role("button", name="Stop").click()
    for page in (first, second):
        expect(page.locator("output")).to_have_text("ready")
        assert answer(page) == "Hel"
    model.asked(2).wait_for_hang_up()
    until(lambda: not running(stack, "u"), "the end of the answer")
    assert first.get_by_role("alert").count() == 0
    context.close()
