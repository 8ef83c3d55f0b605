"""Sends hooks: each waits in Redis until the receiver has taken it. One worker sends those of a partition at a time; if
it dies, another goes on. So a hook may come twice, with the same id, and is never lost."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Final, NamedTuple

import gevent
import orjson
from gevent.pool import Pool

from pushsvc import metrics
from pushsvc.attendance.receiver import ANSWER_SECONDS, AT_ONCE, Receiver
from pushsvc.attendance.register import Register
from pushsvc.concurrency.loops import Loop
from pushsvc.errors import Unavailable
from pushsvc.storage.redis.client import RedisClient
from pushsvc.storage.redis.scripts import Command, Script

logger = logging.getLogger(__name__)

_HOLD: Final = Script("attendance/hold")

LOOK_SECONDS: Final = 0.25  # between two looks for new hooks
HELD_MS: Final = int(ANSWER_SECONDS * 1000) + 5000  # longer than a round of posts can take
READ: Final = 1000  # hooks looked at; those that wait to be sent again are passed over
FIRST_PAUSE: Final = 1.0  # seconds until a hook is sent again, doubled up to
LONGEST_PAUSE: Final = 60.0
TYPES: Final = {
    ("user", "came"): "user.connected",
    ("user", "went"): "user.disconnected",
    ("topic", "came"): "topic.occupied",
    ("topic", "went"): "topic.vacated",
}


class Hook(NamedTuple):
    """Something that a backend is told. `member`: as it stands in Redis, see lua/attendance/turnout.lua."""

    member: bytes
    id: str
    at: int  # ms since 1970
    kind: str
    name: str

    @property
    def body(self) -> bytes:
        """The JSON that is posted."""
        of, _, name = self.name.partition(":")
        at = datetime.fromtimestamp(self.at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        user, topic = (name, None) if of == "user" else (None, name)
        return orjson.dumps({"id": self.id, "type": self.kind, "user": user, "topic": topic, "at": at})


def read_hook(member: bytes, partition: str) -> Hook:
    """Parse a hook. `partition`: what sets its ids apart from those of others; empty: there are no others."""
    event_id, at, what, name = member.decode().split(" ", 3)
    kind = TYPES[name.partition(":")[0], what]
    return Hook(member, f"{event_id}.{partition}" if partition else event_id, int(at), kind, name)


def hold(place: str, worker: str, *, leave: bool) -> Command:
    """The command by which a worker takes, keeps or leaves the place of the one that sends."""
    return _HOLD.call([place], worker, HELD_MS, "1" if leave else "0")


class HookSender:
    """Sends the hooks of one partition, those of one name in order."""

    def __init__(self, store: RedisClient, worker_id: str, receiver: Receiver) -> None:
        self._store = store
        self._worker_id = worker_id
        self._receiver = receiver
        self._partition = store.keys.tag if store.keys.partitions > 1 else ""
        self._waiting = metrics.HOOKS_WAITING.labels(store.keys.tag)
        self._failed: dict[bytes, tuple[int, float]] = {}  # member -> tries, and the monotonic time of the next
        self.loop = Loop("hooks", self._run, expected=(Unavailable,))

    def stop(self) -> None:
        """Let another worker send. Raises Unavailable."""
        self.loop.stop()
        self._hold(leave=True)

    def _run(self, loop: Loop) -> None:
        while True:
            sent = self._hold() and self._send_some()
            loop.report_healthy()
            if not sent:
                gevent.sleep(LOOK_SECONDS)

    def _hold(self, *, leave: bool = False) -> bool:
        """Be the one that sends, if nobody else is."""
        held = bool(self._store.execute_one(hold(self._store.keys.hook_sender, self._worker_id, leave=leave)))
        if not held:
            self._failed.clear()
            self._waiting.set(0)
        return held

    def _send_some(self) -> bool:
        """Send one round of hooks. True: some were taken."""
        newest_first = self._store.execute_one(("ZREVRANGE", self._store.keys.hooks, -READ, -1))
        waiting = [read_hook(member, self._partition) for member in reversed(newest_first)]
        self._waiting.set(len(waiting))
        round_of = self._due(waiting)
        taken = [hook for hook, took in zip(round_of, self._post(round_of), strict=True) if took]
        if taken:
            self._store.execute_one(("ZREM", self._store.keys.hooks, *(hook.member for hook in taken)))
        return bool(taken)

    def _due(self, waiting: Iterable[Hook]) -> list[Hook]:
        """The hooks to send now: of each name only the oldest, and none that is to wait."""
        oldest: dict[str, Hook] = {}
        for hook in waiting:
            oldest.setdefault(hook.name, hook)
        now = time.monotonic()
        due = (hook for hook in oldest.values() if self._failed.get(hook.member, (0, 0.0))[1] <= now)
        return list(islice(due, AT_ONCE))

    def _post(self, hooks: list[Hook]) -> list[bool]:
        took = list(Pool(AT_ONCE).imap(self._receiver.post, [hook.body for hook in hooks])) if hooks else []
        for hook, done in zip(hooks, took, strict=True):
            metrics.HOOKS.labels("taken" if done else "failed").inc()
            tries = self._failed.pop(hook.member, (0, 0.0))[0] + 1
            if not done:
                pause = min(FIRST_PAUSE * 2 ** (tries - 1), LONGEST_PAUSE) * random.uniform(0.75, 1.25)
                self._failed[hook.member] = tries, time.monotonic() + pause
        return took


class Hooks:
    """All that this worker does for hooks: it writes down who is here, and sends what is due."""

    def __init__(self, register: Register, senders: Sequence[HookSender]) -> None:
        self._register = register
        self._senders = senders

    def start(self) -> None:
        """Start the loops. Harmless when repeated."""
        self._register.loop.start()
        for sender in self._senders:
            sender.loop.start()

    def stop(self) -> None:
        """Write that nobody is here any more, and let others send."""
        with contextlib.suppress(Unavailable):
            self._register.stop()
        for sender in self._senders:
            with contextlib.suppress(Unavailable):
                sender.stop()
