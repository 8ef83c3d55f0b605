"""Drives WebKitGTK's MiniBrowser by its own WebDriver, on a display that nobody sees."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx

from tests.support.clients.eventsource import until
from tests.support.ports import free_port
from tests.support.processes import dies_with_the_tests

START_SECONDS = 60.0


class WebKit:
    """One browser; it keeps nothing, since it is automated."""

    def __init__(self, folder: Path, driver: str, display: str, *, cookies: bool) -> None:
        folder.mkdir(parents=True)
        port = free_port()
        read, write = os.pipe()
        with (folder / "log.txt").open("w") as log:
            # Xvfb chooses a free display and says its number.
            self._display = subprocess.Popen(
                [display, "-displayfd", str(write), "-screen", "0", "1280x1024x24", "-nolisten", "tcp"],
                stdout=log, stderr=log, pass_fds=[write], preexec_fn=dies_with_the_tests(signal.SIGKILL),
            )  # fmt: skip
            os.close(write)
            with os.fdopen(read) as told:
                number = told.readline().strip()
            self._driver = subprocess.Popen(
                [driver, f"--port={port}"], stdout=log, stderr=log,
                env=os.environ | {"DISPLAY": f":{number}", "GDK_BACKEND": "x11", "HOME": str(folder)},
                preexec_fn=dies_with_the_tests(signal.SIGTERM),
            )  # fmt: skip
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=START_SECONDS)
        until(self._ready, "WebKitWebDriver", START_SECONDS)
        policy = "always" if cookies else "never"
        options = {"webkitgtk:browserOptions": {"binary": _browser(), "args": _arguments(policy)}}
        value = self._ask("POST", "/session", capabilities={"alwaysMatch": options})
        self._session = f"/session/{value['sessionId']}"
        self._first: str = self.call("GET", "/window")

    def _ready(self) -> bool:
        try:
            return self._client.get("/status").status_code == 200
        except httpx.HTTPError:
            return False

    def _ask(self, method: str, path: str, **body: Any) -> Any:
        answer = self._client.request(method, path, content=json.dumps(body) if method == "POST" else None)
        value = answer.json()["value"]
        assert answer.status_code == 200, value
        return value

    def call(self, method: str, path: str, **body: Any) -> Any:
        return self._ask(method, f"{self._session}{path}", **body)

    def open(self, url: str) -> WebKitTab:
        self.call("POST", "/window", handle=self._first)  # the tab before may be gone
        return WebKitTab(self, url)

    def close(self) -> None:
        self.call("DELETE", "")
        self._client.close()
        for process in (self._driver, self._display):
            process.terminate()
            process.wait()


class WebKitTab:
    def __init__(self, browser: WebKit, url: str) -> None:
        self._browser = browser
        self._handle: str = browser.call("POST", "/window/new", type="tab")["handle"]
        self._switch()
        browser.call("POST", "/url", url=url)

    def _switch(self) -> None:
        self._browser.call("POST", "/window", handle=self._handle)

    def run(self, expression: str) -> Any:
        """The expression's value, a promise's once it is kept."""
        self._switch()
        script = f"const tell = arguments[0]; (async () => JSON.stringify((await ({expression})) ?? null))().then(tell)"
        return json.loads(self._browser.call("POST", "/execute/async", script=script, args=[]))

    def close(self) -> None:
        self._switch()
        self._browser.call("DELETE", "/window")


def _browser() -> str:
    """MiniBrowser is no command: it lies with the libraries."""
    return str(next(Path("/usr/lib").glob("*/webkit*gtk-*/MiniBrowser"), "MiniBrowser"))


def _arguments(policy: str) -> list[str]:
    return ["--automation", f"--cookies-policy={policy}"]
