"""Raises an exception at each line that a connection's life runs through, one at a time, in a worker of its own; then
new connections get the same descriptors. Run by test_leftovers.py: prints what was left behind, or heard by others.

    python -m tests.raising REDIS_URL STORY...
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from contextlib import contextmanager, suppress  # noqa: E402
from pathlib import Path  # noqa: E402
from types import FrameType  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402

import pushsvc  # noqa: E402

FOLDER = Path(pushsvc.__file__).parent
FILES = {
    str(FOLDER / f"{name}.py")
    for name in ("connections", "channels", "sockets", "hub", "listening", "outlet", "wheel", "presence", "worker")
}
# Bodies that go on for ever, and what the Bus says, which begins anew after any error.
SKIPPED = {
    *("Connections._turn", "Hub._tidy", "Presence._beat", "Hub.announced", "Hub._send", "Hub._write", "write_all"),
    *("Hub.probe", "Hub.confirmed", "Hub._clock_came"),
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
from pushsvc.event import Event  # noqa: E402
from pushsvc.service import EXTENSION, Service  # noqa: E402
from pushsvc.subscriber import Reason, Subscriber  # noqa: E402
from pushsvc.worker import PushWorker  # noqa: E402

SECRET = "a-test-key-and-nothing-but-a-test-key"
PATIENCE = 8.0  # seconds
MOST_WRONG = 10  # then it is enough
MOMENT = 0.3  # within which what is not broken arrives


def until(done: Callable[[], object], seconds: float = PATIENCE) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        gevent.sleep(0.005)
    return True


def descriptors() -> int:
    """The TCP connections that this process holds; those to Redis are none."""
    tcp = {f"socket:[{line.split()[9]}]" for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]}
    found = 0
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found += os.readlink(path) in tcp
    return found


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
        self.connections = self.partition.hub.connections
        self.service.room.detaches = True
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # as the connections that it accepts have it
        self.address = listener.getsockname()
        cfg = Config()
        worker = PushWorker(0, os.getpid(), [listener], None, 30, cfg, Logger(cfg))
        worker._application, worker.wsgi = app, worker._answer
        self.service.start()
        self.server = worker._serve(listener)
        until(lambda: self.service.unready() is None)
        self.number = 0

    def publish(self, user: str, data: str) -> None:
        self.service.log.append([Event(f"user:{user}", "message", data)])

    def subscriber(self, user: str) -> Subscriber | None:
        return next((each for each in list(self.connections._all) if each.user == user), None)

    def held(self) -> dict[str, int]:
        """All that must be nothing when nobody is connected."""
        channels = self.connections.channels._channels.values()
        presence: Any = self.partition.presence
        return {
            "connections": len(self.connections),
            "unsettled": len(self.connections._unsettled) + len(self.connections._leaving),
            "sockets": len(self.connections.sockets),
            "followers": sum(map(len, channels)),
            "known descriptors": sum(len(channel.fds()) for channel in channels),
            "counted": sum(presence._here.values()),
            "greenlets": len(self.server.pool),
        }


Story = Callable[[Lab, str], Client]


def arrive(lab: Lab, user: str, **wish: Any) -> Client:
    with TRACER.arm():
        client = Client(lab, user).ask(**wish)
        if client.open():
            until(lambda: client.ended or (who := lab.subscriber(user)) is None or who.due, MOMENT)
            lab.publish(user, "first")
            client.wait(b"first")
    return client


def arrive_and_leave(lab: Lab, user: str) -> Client:
    client = Client(lab, user).ask()
    client.open()
    until(lambda: (who := lab.subscriber(user)) is not None and who.due, MOMENT)
    with TRACER.arm():
        client.close()
        until(lambda: lab.subscriber(user) is None, MOMENT)
    return client


def be_ended(reason: Reason) -> Story:
    def story(lab: Lab, user: str) -> Client:
        client = Client(lab, user).ask()
        client.open()
        until(lambda: (who := lab.subscriber(user)) is not None and who.due, MOMENT)
        with TRACER.arm():
            who = lab.subscriber(user)
            if who is not None:
                with suppress(Injected):
                    lab.connections.end(who, reason)
            client.wait(b"never said")
        return client

    return story


def expire(lab: Lab, user: str) -> Client:
    client = Client(lab, user).ask()
    client.open()
    until(lambda: (who := lab.subscriber(user)) is not None and who.due, MOMENT)
    with TRACER.arm():
        who = lab.subscriber(user)
        if who is not None:
            who.expires = time.time()
        client.wait(b"never said", 1.0)
    return client


def be_slow(lab: Lab, user: str) -> Client:
    client = Client(lab, user).ask()
    client.open()
    until(lambda: (who := lab.subscriber(user)) is not None and who.due, MOMENT)
    with TRACER.arm():
        for _ in range(20):
            who = lab.subscriber(user)
            if who is None or who.outlet._backlog is not None:  # type: ignore[attr-defined]
                break
            lab.publish(user, "x" * 50_000)
            gevent.sleep(0.005)
        for _ in range(50):
            if who is None or who.outlet._backlog is None or client.wait(b"never said", 0.01):  # type: ignore[attr-defined]
                break
        lab.publish(user, "last of all")
        client.wait(b"last of all", 1.0)
        until(lambda: client.ended or (who := lab.subscriber(user)) is None or who.due, MOMENT)
    return client


def fall_behind(lab: Lab, user: str) -> Client:
    client = Client(lab, user).ask()
    client.open()
    until(lambda: (who := lab.subscriber(user)) is not None and who.due, MOMENT)
    with TRACER.arm():
        try:
            lab.partition.hub.begun()
        except Injected:
            lab.partition.hub.begun()  # as the Bus does, whose reader begins anew after any error
        until(lambda: (who := lab.subscriber(user)) is None or who.due, MOMENT)
    return client


def with_a_greenlet(lab: Lab, user: str) -> Client:
    lab.service.room.detaches = False
    try:
        client = arrive(lab, user)
        with TRACER.arm():
            client.close()
            until(lambda: lab.subscriber(user) is None, MOMENT)
    finally:
        lab.service.room.detaches = True
    return client


def poll_long(lab: Lab, user: str) -> Client:
    with TRACER.arm():
        client = Client(lab, user).ask(f"/history?channel=user:{user}&wait=5")
        until(lambda: lab.subscriber(user) is not None, MOMENT)
        gevent.sleep(0.05)
        lab.publish(user, "first")
        client.wait(b"first")
    return client


def be_refused(lab: Lab, user: str) -> Client:
    presence: Any = lab.partition.presence
    most, presence._max_per_user = presence._max_per_user, 0
    try:
        with TRACER.arm():
            client = Client(lab, user).ask()
            client.wait(b"\r\n\r\n")
    finally:
        presence._max_per_user = most
    return client


STORIES: dict[str, Story] = {
    "arrives": arrive,
    "arrives with HTTP/1.0": lambda lab, user: arrive(lab, user, version="1.0"),
    "leaves": arrive_and_leave,
    "is drained": be_ended(Reason.DRAINING),
    "is cut": be_ended(Reason.SLOW),
    "expires": expire,
    "is slow": be_slow,
    "falls behind": fall_behind,
    "keeps its greenlet": with_a_greenlet,
    "polls": poll_long,
    "is refused": be_refused,
}


def trial(lab: Lab, story: Story) -> list[str]:
    """What went wrong around somebody's life."""
    lab.number += 1
    victim, stranger = f"victim{os.getpid()}.{lab.number}", f"stranger{os.getpid()}.{lab.number}"
    others = [Client(lab, stranger) for _ in range(2)]  # with descriptors of their own, before any becomes free
    before = descriptors()
    held = lab.held()
    wrong: list[str] = []
    client = story(lab, victim)
    for other in others:
        other.ask()
        if not other.wait(b"event: cursor\n", PATIENCE):
            wrong.append("somebody else is not served")
    lab.publish(victim, "for the victim alone")
    lab.publish(stranger, "for strangers")
    for other in others:
        if not other.wait(b"for strangers", PATIENCE):
            wrong.append("somebody else misses an event")
        if b"victim" in other.heard or b"first" in other.heard:
            wrong.append("somebody else hears what is not theirs")
    alive = lab.subscriber(victim)
    if (
        alive is not None
        and alive.reason is None
        and not client.wait(b"for the victim alone", 1.0)
        and not client.ended
    ):
        wrong.append("it is open, and hears nothing")
    if client.heard.count(b"for the victim alone") > 1 or client.heard.count(b"first") > 1:
        wrong.append("it hears something twice")
    for each in (client, *others):
        each.close()
    if not until(lambda: all(n <= held[name] for name, n in lab.held().items())):
        wrong.append(f"left behind: { {name: n - held[name] for name, n in lab.held().items() if n > held[name]} }")
    if not until(lambda: descriptors() <= before):
        wrong.append("a descriptor stays open")
    return wrong


def run(redis_url: str, names: list[str]) -> dict[str, object]:
    raised = 0
    wrong: list[str] = []
    known: set[Place] = set()
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(redis_url, folder)
        for name in names:
            TRACER.target = None
            trial(lab, STORIES[name])  # what is opened once is open then
            TRACER.seen.clear()
            wrong += [f"{name}, without an error: {each}" for each in trial(lab, STORIES[name])]
            for place in TRACER.seen.keys() - known:
                TRACER.target, TRACER.hit = place, False
                wrong += [f"{name}, {place[0]}:{place[1]}: {each}" for each in trial(lab, STORIES[name])]
                raised += TRACER.hit
                if len(wrong) > MOST_WRONG:
                    break
            known |= TRACER.seen.keys()
    return {"raised": raised, "wrong": wrong}


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    try:
        print(json.dumps(run(sys.argv[1], sys.argv[2:])), flush=True)
    finally:
        os._exit(0)
