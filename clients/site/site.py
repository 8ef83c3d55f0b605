"""The service under test: the stack, an nginx of the test's own in front of its gunicorn, and a site that uses it.

Faults are done to real parts: the nginx here is one that a test may stop, which `pushsvc up` would start again at once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from clients.site.pages import Pages
from pushsvc.config import Settings
from pushsvc.stack.nginx import nginx_command
from tests.support.clients.eventsource import until
from tests.support.ports import free_port
from tests.support.processes import command_line, descendants, dies_with_the_tests
from tests.support.stack import Stack

AWAY_SECONDS = 5.0  # how long nginx is stopped, at least
Meanwhile = Callable[[], None]  # is called while a part is away


class Site:
    def __init__(self, folder: Path, **settings: object) -> None:
        self.pages = Pages(self.ticket)
        origins = f"http://127.0.0.1:{self.pages.port},http://localhost:{self.pages.port}"
        self.stack = Stack(folder / "stack", allowed_origins=origins, retry_seconds=0.3, **settings)
        self.address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.address}"
        app = str(self.stack.settings["app"])
        given = {"http": self.address, "app": app, "allowed_origins": origins}
        self._words = nginx_command(Settings.model_validate({"data_dir": folder / "nginx", **given}))
        self._start_nginx()

    def close(self) -> None:
        self._stop_nginx()
        self.pages.close()
        self.stack.stop()
        assert "Traceback" not in self.stack.output, self.stack.output

    def ticket(self, user: str) -> dict[str, Any]:
        """The ticket that a backend gets for a user's page, with a URL for pages of any origin. Raises
        httpx.HTTPError."""
        answer = self.stack.post("/tickets", {"user": user}, self.stack.bearer(subscribe=["*"]), self.url)
        answer.raise_for_status()
        ticket: dict[str, Any] = answer.json()
        return ticket | {"url": f"{self.url}{ticket['url']}"}

    @property
    def bad_ticket(self) -> str:
        return f"{self.url}/events?ticket=no-such-ticket"

    def publish(self, users: list[str], data: str) -> None:
        """Publish an event. Its key makes it harmless to try again while parts are away."""

        def acked() -> bool:
            item = {"users": users, "data": data, "key": data}
            try:
                answer = self.stack.post("/publish", item, self.stack.bearer(publish=["*"]), self.url)
            except httpx.HTTPError:
                return False
            assert answer.status_code in (200, 502, 503), answer.text
            return answer.status_code == 200

        until(acked, f"the publish of {data}", 60)

    def cut(self, _: Meanwhile) -> None:
        """Break every connection; the next one is served."""
        for pid in list(descendants(self._nginx.pid)):
            if "worker process" in command_line(pid):
                os.kill(pid, signal.SIGKILL)

    def kill_workers(self, _: Meanwhile) -> None:
        self.stack.kill("gunicorn", slice(1, None))

    def reload(self, _: Meanwhile) -> None:
        """Reload by SIGHUP. The old workers are gone when this returns."""
        master, *old = self.stack.pids()["gunicorn"]
        os.kill(master, signal.SIGHUP)
        until(lambda: not set(old) & set(self.stack.pids()["gunicorn"]), "the end of the old workers", 60)

    def restart(self, meanwhile: Meanwhile) -> None:
        """Restart as `systemctl restart` does: the service drains, ends, and starts anew."""
        self.stack.stop(signal.SIGTERM)
        meanwhile()
        self.stack.start()

    def stop_nginx_for_a_while(self, meanwhile: Meanwhile) -> None:
        self._stop_nginx()
        threading.Event().wait(AWAY_SECONDS)  # the fault itself: it is away for so long
        meanwhile()
        self._start_nginx()

    def _start_nginx(self) -> None:
        self._nginx = subprocess.Popen(
            self._words, stderr=subprocess.DEVNULL, preexec_fn=dies_with_the_tests(signal.SIGTERM)
        )

        def up() -> bool:
            try:
                return httpx.get(f"{self.url}/healthz", trust_env=False).status_code == 200
            except httpx.HTTPError:
                return False

        until(up, "nginx", 30)

    def _stop_nginx(self) -> None:
        self._nginx.terminate()
        self._nginx.wait()


FAULTS: dict[str, Callable[[Site, Meanwhile], None]] = {
    "cut": Site.cut,
    "worker killed": Site.kill_workers,
    "reload": Site.reload,
    "restart": Site.restart,
    "nginx stopped": Site.stop_nginx_for_a_while,
}
