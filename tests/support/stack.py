"""Starts the real stack, as an operator would, on free ports and in a data directory of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import orjson
import redis

from pushsvc import auth
from pushsvc.config import DEFAULT_PREFIX
from pushsvc.storage.redis.keys import Keys
from tests.support.clients import canaries
from tests.support.clients.eventsource import DEADLINE, EventSource, until
from tests.support.ports import free_port
from tests.support.processes import alive, command_line, descendants, dies_with_the_tests

ROOT = Path(__file__).resolve().parent.parent.parent
SECRET = "a-test-key-and-nothing-but-a-test-key"
START_SECONDS = 60.0
ADDRESS_IN_USE = re.compile("Address (already )?in use")  # in the words of glibc and of musl


def copied(folder: Path) -> Path:
    """The service's code, to be changed there."""
    for part in ("pushsvc", "templates", "npm", "nginx"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "app.py", folder)
    return folder


def command(*words: str, **settings: object) -> tuple[list[str], dict[str, str]]:
    """`python -m pushsvc ...` and its environment, free of settings from outside but for the poller: all tests can be
    run with either."""
    kept = "PUSHSVC_POLLER"
    environ = {name: value for name, value in os.environ.items() if name == kept or not name.startswith("PUSHSVC_")}
    environ |= {f"PUSHSVC_{name.upper()}": str(value) for name, value in settings.items()}
    return [sys.executable, "-m", "pushsvc", *words], environ


class Stack:
    """`python -m pushsvc up`. Its parts die with it, and it dies with the tests (see pushsvc/stack/process.py)."""

    def __init__(self, data_dir: Path, **settings: object) -> None:
        """Settings of the service, and `worker`: another of gunicorn's classes instead of ours; `gunicorn`: its
        options; `files`: how many each process may open; `folder`: where the service's code is; `program`: that is
        run in place of `python -m pushsvc`."""
        self.data_dir = data_dir
        self.worker = settings.pop("worker", "")
        self.gunicorn = settings.pop("gunicorn", f"--worker-class {self.worker}" if self.worker else "")
        self.files = settings.pop("files", 0)
        self.folder = str(settings.pop("folder", ROOT))
        self._program: list[str] | None = settings.pop("program", None)  # type: ignore[assignment]
        self.settings: dict[str, object] = {
            "data_dir": data_dir,
            "secret": SECRET,
            "http": f"127.0.0.1:{free_port()}",
            "app": f"127.0.0.1:{free_port()}",
            "workers": 2,
            "drain_seconds": 1,
            "retry_seconds": 0.2,
            "rate_connect": "1000000 per minute",  # one user of the tests does the work of many
            "rate_ask": "1000000 per minute",
        } | settings
        self.output = ""
        self.secrets: set[str] = {str(self.settings["secret"])}  # see `leaked`
        self._moves = tuple(name for name in ("http", "app") if name not in settings)  # once
        self.start()

    def start(self) -> None:
        words, environ = command("up", **self.settings)
        if self._program is not None:
            words = [*self._program, "up"]
            environ.pop("PYTHONPATH", None)
        if self.gunicorn:
            environ["GUNICORN_CMD_ARGS"] = str(self.gunicorn)
        self.process = subprocess.Popen(
            words, cwd=self.folder, env=environ, text=True, errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            preexec_fn=dies_with_the_tests(signal.SIGKILL, self.files),
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        end = time.monotonic() + START_SECONDS
        until(lambda: "pushsvc is up" in self.output or self.process.poll() is not None, "the stack", START_SECONDS)
        if self.process.poll() is not None and ADDRESS_IN_USE.search(self.output) and self._moves:
            self._reader.join(DEADLINE)  # others took a port between the look and now
            self.settings |= {name: f"127.0.0.1:{free_port()}" for name in self._moves}
            self.output, self._moves = "", ()
            self.start()
            return
        assert self.process.poll() is None, f"the stack did not start:\n{self.output}"
        assert time.monotonic() < end

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        arguments = ""
        if self.process.poll() is None:
            arguments = "\n".join(map(command_line, descendants(self.process.pid)))
            self.process.send_signal(number)
        status = self.process.wait(60)
        self._reader.join(DEADLINE)
        assert not self._reader.is_alive(), "a process that outlived the stack holds its output"
        assert not (leaked := self.leaked(arguments)), f"in the logs or arguments of processes: {leaked}"
        return status

    def leaked(self, *others: str) -> list[str]:
        """The keys, tokens, tickets, cookies, proofs and data that were made here and are in a log or in these other
        texts."""
        logs = [path.read_text(errors="replace") for path in self.data_dir.rglob("*.log")]
        texts = (self.output, *logs, *others)
        return [secret for secret in self.secrets | canaries.given for text in texts if secret in text]

    @property
    def url(self) -> str:
        return f"{'https' if self.settings.get('tls') else 'http'}://{self.settings['http']}"

    def page(self, path: str = "/") -> str:
        """A page's address with the word that `up` prints; a visitor who brings that gets a token."""
        printed = re.search(r"/\?(demo=\S+)", self.output)
        assert printed is not None, self.output
        path, mark, fragment = path.partition("#")
        return f"{self.url}{path}{'&' if '?' in path else '?'}{printed[1]}{mark}{fragment}"

    @property
    def app_url(self) -> str:
        return f"http://{self.settings['app']}"

    @property
    def redis(self) -> redis.Redis:
        url = self.settings.get("redis_url") or f"unix://{self.data_dir}/valkey.sock"
        return redis.Redis.from_url(str(url))

    def keys_of(self, user: str) -> Keys:
        return Keys(prefix=str(self.settings.get("redis_prefix", DEFAULT_PREFIX)))

    def pids(self) -> dict[str, list[int]]:
        """The stack's processes by part: the first of each is the one the supervisor started."""
        parts: dict[str, list[int]] = {"valkey": [], "gunicorn": [], "nginx": []}
        for pid in descendants(self.process.pid):
            line = command_line(pid)
            for part, found in parts.items():
                if part in line.split(" ")[0] or f"-m {part}" in line:
                    found.append(pid)
        return parts

    def kill(self, part: str, which: slice = slice(1)) -> None:
        """The part's first process takes the others along. They are gone when this returns, and so say no more that
        they are ready."""
        pids = self.pids()[part]
        for pid in pids[which]:
            os.kill(pid, signal.SIGKILL)
        doomed = pids[which] if which.start else pids
        until(lambda: not any(map(alive, doomed)), f"the end of {part}")

    def until_ready(self) -> None:
        """Wait until every part answers, through nginx."""

        def ready() -> bool:
            try:
                return httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200
            except httpx.HTTPError:
                return False

        until(ready, "the stack to be ready again")

    def token(self, user: str | None = None, *, ttl: float = 3600, **claims: Any) -> str:
        token = auth.encode(({"sub": user} if user else {}) | claims, SECRET, ttl=ttl)
        self.secrets.add(token.rpartition(".")[2])
        return token

    def bearer(self, user: str | None = None, **claims: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(user, **claims)}"}

    def post(self, path: str, body: Any, headers: dict[str, str], base: str | None = None) -> httpx.Response:
        """Post, and give the answer; of one that was cut, as much as came."""
        address = f"{base or self.url}{path}"
        with httpx.stream("POST", address, json=body, headers=headers, trust_env=False, timeout=30) as response:
            came = b""
            with suppress(httpx.RemoteProtocolError):
                for piece in response.iter_bytes():
                    came += piece
        if path == "/tickets" and response.status_code == 200:
            self.secrets.add(orjson.loads(came)["ticket"])
        canaries.note_cookies(response.headers.get_list("set-cookie"))
        headers_of_text = [each for each in response.headers.items() if each[0] != "content-encoding"]  # it is decoded
        return httpx.Response(response.status_code, headers=headers_of_text, content=came, request=response.request)

    def get(self, path: str, headers: dict[str, str], **params: Any) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", params=params or None, headers=headers, trust_env=False, timeout=30)

    def publish(self, **item: Any) -> str:
        """Publish one event and give its id."""
        self._keep_out_of_logs(item)
        answer = self.post("/publish", {"data": "-"} | item, self.bearer(publish=["*"]))
        assert answer.status_code == 200, answer.text
        event_id: str = answer.json()["id"]
        return event_id

    def _keep_out_of_logs(self, *items: dict[str, Any]) -> None:
        """Data that is long enough to be found by nothing but itself."""
        data = (item.get("data") for item in items)
        self.secrets.update(each for each in data if isinstance(each, str) and 16 <= len(each) <= 200)

    def publish_many(self, items: list[dict[str, Any]]) -> list[str]:
        self._keep_out_of_logs(*items)
        answer = self.post("/publish", items, self.bearer(publish=["*"]))
        assert answer.status_code == 200, answer.text
        return [result["id"] for result in answer.json()["results"]]

    def kept(self, user: str) -> list[dict[str, Any]]:
        """The first hundred events of the user's own channel: other tests publish to all."""
        events: list[dict[str, Any]] = self.get("/history", self.bearer(user), channel=f"user:{user}").json()["events"]
        return events

    def listen(self, user: str, query: str = "", *, base: str | None = None, **options: Any) -> EventSource:
        """Open a stream, which is connected when this returns, unless refused."""
        headers = self.bearer(user, subscribe=["topic:*"]) | options.pop("headers", {})
        return EventSource(f"{base or self.url}/events{query}", headers, **options).wait_open()


def connections(stack: Stack, user: str) -> int:
    """The number of connections that the workers have counted in Redis."""
    return sum(map(int, stack.redis.hvals(stack.keys_of(user).connections(user))))


def descriptors(stack: Stack) -> int:
    """The number of descriptors that the workers have open."""
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in stack.pids()["gunicorn"])


def read_to_the_end(client: socket.socket) -> bytes:
    """All that came before the connection was closed or reset."""
    taken = b""
    try:
        while piece := client.recv(65536):
            taken += piece
    except ConnectionResetError:
        pass
    return taken


def spoken(url: str, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers by their names in lower case, and body of what is answered to these bytes."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE) as client, client.makefile("rb") as answer:
        client.sendall(request)
        line = answer.readline()
        fields = dict(iter(lambda: _field(answer.readline()), ("", "")))
        return int(line.split()[1]), fields, answer.read(int(fields.get("content-length", 0)))


def _field(line: bytes) -> tuple[str, str]:
    name, _, value = line.decode("latin-1").partition(":")
    return name.strip().lower(), value.strip()
