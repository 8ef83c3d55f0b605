"""A worker in a process of its own, in which an exception can be raised at any line. See raising.py."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import _socket  # noqa: E402
import os  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from pathlib import Path  # noqa: E402
from types import FrameType  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402

import pushsvc  # noqa: E402

FOLDER = Path(pushsvc.__file__).parent
FILES = {
    str(FOLDER / f"{name}.py")
    for name in (
        *(f"delivery/{name}" for name in ("subscribers", "lifetimes", "channels", "hub", "fanout", "catch_up")),
        *("delivery/transports/detached", "delivery/transports/queued", "concurrency/timer_wheel"),
        *("calls/events", "calls/streams", "storage/counts/presence", "server/worker", "server/httpworker"),
        "server/wire/writing",
    )
}
assert all(map(os.path.exists, FILES)), FILES
# Bodies that go on for ever, and what the PubSub says, which begins anew after any error.
SKIPPED = {
    "Connection.__enter__",  # it does nothing, so nothing is raised there
    "HttpWorker.handle",  # its last lines are the last resort
    *("Lifetimes._run", "Hub._tidy", "Presence._beat", "write_all"),
    *("Broadcaster._send", "Broadcaster.write", "runs", "parse", "plan", "_joined"),
    *("CatchUp.probe", "CatchUp._clock_came", "CatchUp.sync", "CatchUp.pages", "CatchUp._pages", "CatchUp._replay"),
    *("CatchUp.enqueue", "CatchUp._add_worker", "CatchUp._work", "CatchUp._try", "CatchUp._drained"),
}
Place = tuple[str, int]


class Injected(Exception):
    """Raised where nobody expects it."""


class Tracer:
    """Notes the lines that run while it is armed, or raises at the one that is its target."""

    def __init__(self) -> None:
        self.armed = False
        self.seen: dict[Place, None] = {}
        self.target: Place | None = None
        self.hit = False

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        looked_at = code.co_filename in FILES and code.co_qualname.partition(".<locals>")[0] not in SKIPPED
        return self._line if looked_at else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line" and self.armed:
            place = (Path(frame.f_code.co_filename).name, frame.f_lineno)
            if self.target is None:
                self.seen[place] = None
            elif place == self.target and not self.hit:
                self.hit = True
                raise Injected(f"{place[0]}:{place[1]}")
        return self._line

    @contextmanager
    def arm(self) -> Iterator[None]:
        sys.settrace(self)  # what raises in a trace function ends the tracing
        self.armed = True
        try:
            yield
        finally:
            self.armed = False


TRACER = Tracer()
sys.settrace(TRACER)  # before any greenlet begins: each has it as it was then

from gunicorn.config import Config  # noqa: E402
from gunicorn.glogging import Logger  # noqa: E402

from pushsvc import auth, create_app  # noqa: E402
from pushsvc.config import Settings  # noqa: E402
from pushsvc.delivery.endings import Reason as Reason  # noqa: E402
from pushsvc.delivery.subscriber import Subscriber as Subscriber  # noqa: E402
from pushsvc.events.event import Event  # noqa: E402
from pushsvc.server.shortcut import shortcut_to  # noqa: E402
from pushsvc.server.worker import PushWorker  # noqa: E402
from pushsvc.service import EXTENSION, Service  # noqa: E402

SECRET = "a-test-key-and-nothing-but-a-test-key"
PATIENCE = 8.0  # seconds
MOMENT = 0.3  # within which what is not broken arrives


def until(done: Callable[[], object], seconds: float = PATIENCE) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        gevent.sleep(0.005)
    return True


def descriptors() -> int:
    """The TCP sockets that this process holds; those to Redis are none."""
    return sum(map(_is_tcp, map(int, os.listdir("/proc/self/fd"))))


def _is_tcp(fd: int) -> bool:
    try:
        here = _socket.socket(fileno=fd)
    except OSError:  # no socket, or closed meanwhile
        return False
    try:
        return here.family == socket.AF_INET
    finally:
        here.detach()


class Client:
    """A stream's client, whose descriptor is there before the server's."""

    def __init__(self, lab: Lab, user: str) -> None:
        self.lab, self.user, self.heard, self.ended = lab, user, b"", False
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def ask(self, path: str = "/events?since=now", version: str = "1.1", ttl: float = 600) -> Client:
        self.socket.connect(self.lab.address)
        token = auth.encode({"sub": self.user, "exp": time.time() + ttl}, SECRET, ttl=None)
        head = f"GET {path} HTTP/{version}\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        self.socket.sendall(head.encode())
        return self

    def wait(self, text: bytes, seconds: float = MOMENT) -> bool:
        deadline = time.monotonic() + seconds
        while text not in self.heard and not self.ended:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                piece = self.socket.recv(1 << 20)
            except TimeoutError:
                return False
            except OSError:
                piece = b""
            self.heard += piece
            self.ended = not piece
        return text in self.heard

    def open(self) -> bool:
        self.wait(b"\r\n\r\n")
        return b" 200 " in self.heard[:16] and self.wait(b"event: cursor\n")

    def close(self) -> None:
        self.socket.close()


class Lab:
    """A worker, its service, and what it holds."""

    def __init__(self, redis_url: str, folder: str) -> None:
        settings = Settings(
            redis_url=redis_url, secret=SECRET, data_dir=Path(folder), heartbeat_seconds=0.2, send_buffer_bytes=200_000
        )
        app = create_app(settings)
        self.service: Service = app.extensions[EXTENSION]
        self.partition = self.service.partitions[0]
        self.hub = self.partition.hub
        self.service.capacity.allow_detaching()
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # as the connections that it accepts have it
        self.address = listener.getsockname()
        cfg = Config()
        worker = PushWorker(0, os.getpid(), [listener], None, 30, cfg, Logger(cfg))
        worker.wsgi = app
        worker._shortcut = shortcut_to(app)
        self.service.start()
        self.server = worker._serve(listener)
        until(lambda: self.service.unready() is None)
        self.number = 0

    def publish(self, user: str, data: str) -> None:
        self.service.log.append([Event(f"user:{user}", "message", data)])

    def subscriber(self, user: str) -> Subscriber | None:
        return next((each for each in list(self.hub.subscribers._all) if each.user == user), None)

    def held(self) -> dict[str, int]:
        """All that must be nothing when nobody is connected."""
        channels = self.hub.subscribers.channels._channels.values()
        presence: Any = self.partition.presence
        return {
            "connections": len(self.hub.subscribers),
            "on the slow path": len(self.hub.subscribers._slow) + len(self.hub.subscribers._leaving),
            "sockets": len(self.hub.lifetimes.sockets),
            "followers": sum(map(len, channels)),
            "known descriptors": sum(len(channel.fast_fds()) for channel in channels),
            "counted": sum(presence._here.values()),
            "greenlets": len(self.server.pool),
        }
