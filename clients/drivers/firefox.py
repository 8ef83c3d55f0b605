"""Drives Firefox over WebDriver BiDi: a WebSocket that Firefox itself listens on, so that no driver is needed."""

from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

from tests.support.clients.eventsource import until
from tests.support.processes import dies_with_the_tests

START_SECONDS = 60.0
_PREFERENCES = {
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "devtools.jsonview.enabled": False,  # a JSON document is a page of its origin then, in which scripts may run
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.http.max-persistent-connections-per-server": 30,  # several tabs of a test share one browser
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}
_BLOCK_ALL_COOKIES = {"network.cookie.cookieBehavior": 2}


class Firefox:
    """One browser with a profile of its own."""

    def __init__(self, folder: Path, binary: str, *, cookies: bool) -> None:
        preferences = _PREFERENCES | ({} if cookies else _BLOCK_ALL_COOKIES)
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()]
        folder.mkdir(parents=True)
        (folder / "user.js").write_text("".join(lines))
        log = folder / "log.txt"
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [binary, "--headless", "--no-remote", "--profile", folder, "--remote-debugging-port", "0"],
                stdout=output, stderr=output, preexec_fn=dies_with_the_tests(signal.SIGKILL),
            )  # fmt: skip

        def address() -> re.Match[str] | None:
            assert self._process.poll() is None, log.read_text()
            return re.search(r"WebDriver BiDi listening on (ws://\S+)", log.read_text())

        until(address, "Firefox", START_SECONDS)
        found = address()
        assert found is not None
        self._open = ExitStack()
        self._socket = self._open.enter_context(connect(f"{found[1]}/session", max_size=None, proxy=None))
        self._numbers = itertools.count(1)
        self.call("session.new", capabilities={})

    def call(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(START_SECONDS))
            if answer.get("id") == number:
                assert answer["type"] == "success", answer
                return answer["result"]

    def open(self, url: str) -> FirefoxTab:
        return FirefoxTab(self, url)

    def close(self) -> None:
        self._open.close()
        self._process.terminate()
        self._process.wait()


class FirefoxTab:
    def __init__(self, browser: Firefox, url: str) -> None:
        self._browser = browser
        self._context: str = browser.call("browsingContext.create", type="tab")["context"]
        browser.call("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def run(self, expression: str) -> Any:
        """The expression's value, a promise's once it is kept."""
        answer = self._browser.call(
            "script.evaluate",
            expression=f"(async () => JSON.stringify((await ({expression})) ?? null))()",
            target={"context": self._context},
            awaitPromise=True,
        )
        assert answer["type"] == "success", answer
        return json.loads(answer["result"]["value"])

    def close(self) -> None:
        self._browser.call("browsingContext.close", context=self._context)
