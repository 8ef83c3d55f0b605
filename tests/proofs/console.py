"""The console while many are connected, who come and go: how long a page waits for what it shows.
`python -m tests.proofs.console [--users 10000] [--rate 50] [--seconds 60]`."""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from playwright.sync_api import Page, expect, sync_playwright

from pushsvc.server.rlimit import raise_descriptor_limit
from tests.proofs.presence.__main__ import crowd
from tests.support import programs
from tests.support.clients.eventsource import until
from tests.support.stack import Stack

USABLE_SECONDS: Final = 1.0  # until something that was asked for is shown
MOST_BYTES: Final = 100_000  # of the page, its styles and scripts
ADMIN: Final[dict[str, Any]] = {"admin": True, "publish": ["*"], "subscribe": ["*"]}
SCRAPES: Final = 10  # for which the page is watched
DEADLINE_MS: Final = 60_000
LONG_TASKS: Final = """() => {
  window.long = [];
  new PerformanceObserver(list => window.long.push(...list.getEntries().map(each => each.duration)))
    .observe({ type: "longtask", buffered: true });
}"""
CALLS: Final = """name => performance.getEntriesByType("resource")
  .filter(each => new URL(each.name).pathname === name).map(each => each.duration)"""


class Watched:
    """A page whose steps are timed."""

    def __init__(self, page: Page, stack: Stack) -> None:
        self._page = page
        self._stack = stack
        self.steps: dict[str, float] = {}  # seconds

    def step(self, name: str, *shown: tuple[str, str]) -> None:
        """Note how long it takes until these selectors show these texts. Call it right after what begins it."""
        began = time.monotonic()
        for selector, text in shown:
            expect(self._page.locator(selector)).to_contain_text(text, timeout=DEADLINE_MS)
        self.steps[name] = time.monotonic() - began

    def walk(self, user: str) -> None:
        """Sign in, look for somebody, and watch a test event on its way."""
        page = self._page
        page.goto(f"{self._stack.url}/console")
        page.evaluate(LONG_TASKS)
        page.fill("#token", self._stack.token("admin", **ADMIN))
        page.keyboard.press("Enter")
        self.step("signed in, with charts and the first users", ("#state", "Live."), ("#people tr:nth-child(50)", ""))
        page.fill("#name", user)
        page.click("#find button")
        self.step("a user found", ("#people tr:only-child", user))
        page.click("#people button")
        self.step("the user's connections and events", ("#person", user))
        page.fill("#name", "")
        page.click("#find button")
        self.step("all users again", ("#people tr:nth-child(50)", ""))
        page.click("#next")
        self.step("the next page of users", ("#first:enabled", ""))
        page.fill("#to", "admin")
        page.click("#probe button")
        self.step("a test event, with its way", ("#probe-note", "Arrived"))
        until(lambda: len(page.evaluate(CALLS, "/metrics")) >= SCRAPES, "so many scrapes")


def drain(pipe: Connection) -> None:
    """Take what the crowd tells, for as long as it does."""
    while True:
        try:
            pipe.recv()
        except (EOFError, OSError):
            return


def judge(page: Page, watched: Watched, sizes: dict[str, int]) -> int:
    """Print what was seen, and give the exit status."""
    for name, seconds in watched.steps.items():
        print(f"{name}: {1000 * seconds:.0f} ms")
    for path in ("/metrics", "/presence"):
        found = page.evaluate(CALLS, path)
        print(f"{path}: {statistics.median(found):.0f} ms (median of {len(found)}), {max(found):.0f} ms at most")
    long = page.evaluate("window.long")
    print(f"tasks of the page over 50 ms: {len(long)}, the longest {max(long, default=0):.0f} ms")
    total = sum(sizes.values())
    print(f"the page, its styles and scripts: {total} bytes")
    return int(max(watched.steps.values()) > USABLE_SECONDS or total > MOST_BYTES)


def main() -> int:
    parser = argparse.ArgumentParser(description="The console while many are connected.")
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=50.0, help="joins a second, and as many leaves")
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    raise_descriptor_limit()
    programs.need(programs.CHROMIUM)
    with TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "data", workers=2)
        try:
            with crowd(stack, given.users, given.rate, given.seconds) as pipe, sync_playwright() as playwright:
                print(f"{pipe.recv()} users are here")
                threading.Thread(target=drain, args=(pipe,), daemon=True).start()
                browser = playwright.chromium.launch(
                    executable_path=programs.find(programs.CHROMIUM), args=programs.CHROMIUM_FLAGS
                )
                page, sizes = browser.new_page(), dict[str, int]()
                page.on("response", lambda answer: sizes.update(size_of(answer)))
                watched = Watched(page, stack)
                watched.walk(f"visitor{given.users - 1:06}")
                return judge(page, watched, sizes)
        finally:
            stack.stop()


def size_of(answer: Any) -> dict[str, int]:
    """The bytes of a part of the page, by its address; nothing of what is not one."""
    kinds = ("document", "script", "stylesheet")
    return {answer.url: len(answer.body())} if answer.request.resource_type in kinds else {}


if __name__ == "__main__":
    sys.exit(main())
