"""The servers that are measured, each started afresh and stopped again."""

from __future__ import annotations

import os
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import ClassVar, Final, Self

import redis

from bench.programs import proc
from bench.programs.child import ROOT, Child, answers, free_port
from bench.programs.load import Load, Target
from pushsvc import auth
from pushsvc.addresses.embedded import socket_path
from pushsvc.config import PREFIX, Settings
from pushsvc.stack.nginx import nginx_command
from pushsvc.stack.valkey import server_command

SECRET: Final = "a-benchmark-key-and-nothing-but-that"  # noqa: S105 - no secret, on purpose
UNLIMITED: Final = 10**6
LOGGED: Final = {"FORMAT": "json", "REQUESTS": "on", "EVENTS": "on"}
TOPIC: Final = '{"topic":"bench","data":"@DATA@"}'


@cache
def bearer(user: str, *publish: str) -> str:
    claims = {"sub": user, "subscribe": ["topic:*"], "publish": publish}
    return f"Authorization: Bearer {auth.encode(claims, SECRET, ttl=86400)}"


class Server(ABC):
    """A context that runs a server. `share`: how much of the others' load it is given."""

    name: ClassVar[str]
    ours: ClassVar[bool] = False
    share: ClassVar[float] = 1.0
    batches: ClassVar[bool] = True  # whether it takes an array of events
    stream: ClassVar[str] = "/events"
    blind: ClassVar[bool] = False
    body: ClassVar[str] = TOPIC
    own: ClassVar[str] = "/events"  # the stream of what is for one user; {} becomes the user's number
    publish: ClassVar[str] = "/publish"
    to_one: ClassVar[str] = '{"user":"@USER@","data":"@DATA@"}'

    def __init__(self, programs: dict[str, Path], folder: Path) -> None:
        self.programs = programs
        self.folder = folder
        self.port = free_port()
        self.children: list[Child] = []
        self.faults: list[str] = []  # what went wrong and does not show in its figures

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for child in reversed(self.children):
            child.stop()

    @abstractmethod
    def start(self) -> None: ...

    def run(self, words: Sequence[str], healthy: str, ending: signal.Signals = signal.SIGKILL, **environ: str) -> None:
        """Start a child that serves at the port, and wait until it does."""
        child = Child(words, environ, ending)
        self.children.append(child)
        child.until(lambda: answers(self.port, healthy))

    def target(self) -> Target:
        return Target(self.port, self.stream, self.publish, blind=self.blind)

    def headers(self, count: int) -> list[str]:
        """A header line for each of `count` users; where the server knows no users, any line will do."""
        return ["X-Bench: 1"] * count

    def load(self, users: int = 1) -> Load:
        return Load(self.programs["load"], self.folder, self.target(), self.headers(users))

    def own_load(self, users: int) -> Load:
        """A client each of whose connections hears what is for its own user."""
        target = replace(self.target(), stream=self.own)
        return Load(self.programs["load"], self.folder, target, self.headers(users))

    def settle(self, connections: int) -> None:
        """Wait until the server has done what it does once for each of so many new connections."""
        time.sleep(1.0)

    def pids(self, program: str = "") -> list[int]:
        """The ids of its processes, or of those that run one program."""
        pids = [pid for child in self.children for pid in proc.family(child.pid)]
        return [pid for pid in pids if program in proc.name(pid)]


class Floor(Server):
    """The program in floor.c."""

    name = "floor"

    def start(self) -> None:
        self.run([str(self.programs["floor"]), str(self.port)], "/healthz")


class FloorBehindNginx(Floor):
    """The floor behind the nginx and the configuration of `pushsvc up`."""

    name = "floor+nginx"

    def start(self) -> None:
        public, self.port = self.port, free_port()
        super().start()
        settings = Settings(data_dir=self.folder / "data", app=f"127.0.0.1:{self.port}", http=f"127.0.0.1:{public}")
        self.port = public
        self.run(nginx_command(settings), "/healthz")


def run_valkey(server: Server, *options: str) -> Path:
    """Start a Valkey as `pushsvc up` does, and give its socket."""
    settings = Settings(data_dir=server.folder / "data")
    path = socket_path(settings.data_dir)
    child = Child([*server_command(settings), *options])
    server.children.append(child)
    child.until(lambda: _pings(path))
    return path


def _pings(path: Path) -> bool:
    try:
        return bool(redis.Redis(unix_socket_path=str(path)).ping())
    except redis.RedisError:
        return False


class Pushsvc(Server):
    """`python -m pushsvc serve` with one worker, and a Valkey of its own."""

    name = "pushsvc"
    ours = True
    stream = "/events?since=now&topics=bench"
    to_one = '{"user":"u@USER@","data":"@DATA@"}'

    def start(self) -> None:
        run_valkey(self)
        self.run([sys.executable, "-m", "pushsvc", "serve"], "/readyz", signal.SIGINT, **self.settings())

    def settings(self) -> dict[str, str]:
        given = {
            "data_dir": str(self.folder / "data"),
            "secret": SECRET,
            "app": f"127.0.0.1:{self.port}",
            "workers": "1",
            "max_connections_per_user": str(UNLIMITED),
            "max_connections": str(UNLIMITED),
            "drain_seconds": "0",
            "rate_ask": "off",  # one user asks as often as many do
            "rate_connect": "off",
        }
        return {PREFIX + name.upper(): value for name, value in given.items()}

    def target(self) -> Target:
        return Target(self.port, self.stream, self.publish, publish_header=bearer("publisher", "*"))

    def headers(self, count: int) -> list[str]:
        return [bearer(f"u{number}") for number in range(count)]

    def redis(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(socket_path(self.folder / "data")), decode_responses=True)


class PushsvcWebSocket(Pushsvc):
    """The same, heard by WebSockets."""

    name = "pushsvc, WebSocket"
    stream = "/ws?since=now&topics=bench"


class PushsvcSwitched(Pushsvc):
    """The same, whose metrics can be switched off."""

    name = "pushsvc, switched"

    def settings(self) -> dict[str, str]:
        return super().settings() | {"PYTHONPATH": str(ROOT / "bench/subjects/switched")}

    def switch(self, *, on: bool) -> None:
        """Have it count, or not."""
        for pid in set(self.pids()) - set(self.pids("valkey-server")):
            os.kill(pid, signal.SIGRTMIN + (2 if on else 1))


class PushsvcLogged(Pushsvc):
    """The same with a line for each request, event and delivery."""

    name = "pushsvc, logged"

    def settings(self) -> dict[str, str]:
        return super().settings() | {f"{PREFIX}LOG_{name}": value for name, value in LOGGED.items()}


class PushsvcTraced(Pushsvc):
    """The same with OpenTelemetry's spans, which its exporter for the console prints."""

    name = "pushsvc, traced"

    def settings(self) -> dict[str, str]:
        return super().settings() | {"OTEL_TRACES_EXPORTER": "console"}


class PushsvcOften(Pushsvc):
    """Several of them on one Valkey, each with one worker and a port of its own."""

    name = "pushsvc, many"

    def serve(self, count: int) -> list[int]:
        """Start servers until `count` are up, and give their ports."""
        ports = [self.port]
        for _ in range(count - 1):
            ports.append(free_port())
            environ = self.settings() | {f"{PREFIX}APP": f"127.0.0.1:{ports[-1]}"}
            self.children.append(Child([sys.executable, "-m", "pushsvc", "serve"], environ, signal.SIGINT))
            self.children[-1].until(partial(answers, ports[-1], "/readyz"))
        return ports


class PushsvcUp(Pushsvc):
    """`python -m pushsvc up`: the same behind nginx."""

    name = "pushsvc+nginx"

    def start(self) -> None:
        settings = self.settings() | {f"{PREFIX}HTTP": f"127.0.0.1:{self.port}"}
        settings[f"{PREFIX}APP"] = f"127.0.0.1:{free_port()}"
        self.run([sys.executable, "-m", "pushsvc", "up"], "/readyz", signal.SIGINT, **settings)
