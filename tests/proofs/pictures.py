"""Pictures of the console for the README: a stack with traffic, in Chromium. `python -m tests.proofs.pictures`
writes docs/images/console-*.png."""

from __future__ import annotations

import io
import random
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright

from tests.support import programs
from tests.support.stack import ROOT, Stack

IMAGES: Final = ROOT / "docs/images"
SIZES: Final = {"wide": (1200, 1100), "narrow": (390, 1100)}
SHOWN_SECONDS: Final = 100.0  # of traffic in the charts
COLOURS: Final = 256
NAMES: Final = ("ada", "alan", "barbara", "dennis", "donald", "edsger", "frances", "grace", "john", "ken", "margaret")
ADMIN: Final[dict[str, Any]] = {"admin": True, "publish": ["*"], "subscribe": ["*"]}


class Traffic:
    """Users who listen, and a backend that publishes to them and asks the model, in a thread."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._publish, daemon=True)
        self._opened = ExitStack()

    def __enter__(self) -> None:
        for name in NAMES:
            for _ in range(random.randint(1, 3)):
                self._opened.enter_context(self._stack.listen(name, "?topics=news"))
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._opened.close()

    def _publish(self) -> None:
        random.seed(1)
        turn = 0
        while not self._over.wait(random.uniform(0.02, 0.3)):
            turn += 1
            item: dict[str, object] = {"user": random.choice(NAMES), "event": "order.paid", "data": {"order": turn}}
            self._stack.publish_many([item] * random.randint(1, 4))
            if turn % 8 == 0:
                self._stack.publish(topic="news", event="headline", data={"text": "Hello, everybody"})
            if turn % 15 == 0:
                body = {
                    "model": "mock",
                    "messages": [{"role": "user", "content": "Tell me of the sea."}],
                    "stream": True,
                }
                self._stack.post("/v1/generations", body, self._stack.bearer(random.choice(NAMES)))


def shoot(stack: Stack, browser: Browser) -> None:
    """Take each picture, in a light and in a dark scheme, of pages that watch the same traffic."""
    pages = {}
    for size, (width, height) in SIZES.items():
        for scheme in ("light", "dark"):
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
            )  # type: ignore[call-overload, misc, unused-ignore]
            page = pages[f"console-{size}-{scheme}"] = context.new_page()
            page.goto(f"{stack.url}/console")
            page.fill("#token", stack.token("admin", **ADMIN))
            page.keyboard.press("Enter")
            expect(page.locator("#state")).to_have_text("Live.")
    time.sleep(SHOWN_SECONDS)
    for name, page in pages.items():
        picture = Image.open(io.BytesIO(page.screenshot()))
        picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(IMAGES / f"{name}.png", optimize=True)
        print(f"{name}.png: {picture.size}, {(IMAGES / f'{name}.png').stat().st_size // 1024} KB")


def main() -> int:
    IMAGES.mkdir(exist_ok=True)
    programs.need(programs.CHROMIUM)
    with TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "data", workers=2)
        try:
            with Traffic(stack), sync_playwright() as playwright:
                path = programs.find(programs.CHROMIUM)
                browser = playwright.chromium.launch(executable_path=path, args=programs.CHROMIUM_FLAGS)
                shoot(stack, browser)
                browser.close()
        finally:
            stack.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
