"""The worker's one subscription to Redis. It handles channels and payloads, and does not know the Hub.

Pub/sub only announces that an event was appended, and may lose announcements. So PubSub reports each time that a
channel's subscription is confirmed, and the listener then reads the log.

The connection speaks RESP3, in which a subscribed connection may also run commands. So the clock is read on it: its
answer is ordered among the announcements, so it is exact which of them came before it.

The channels are sharded ones: on a cluster they live with the partition's data, elsewhere they are like any others.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import gevent
import gevent.event
import hiredis
import redis
from redis.connection import ConnectionInterface

from pushsvc import metrics
from pushsvc.concurrency.loops import SAME_SECONDS, Loop, TimeSlice, is_news
from pushsvc.errors import NoRights, Unavailable
from pushsvc.storage.redis.client import RedisClient
from pushsvc.storage.redis.fencing import INTRODUCE, RoleAnswers, introduction
from pushsvc.storage.redis.scripts import Command
from pushsvc.storage.redis.subscription.awaited import Awaited, Refused
from pushsvc.storage.redis.subscription.connection import batches, subscription
from pushsvc.storage.redis.subscription.listener import (
    Announcement,
    AnnouncementListener,
    ControlListener,
    SubscriptionListener,
)
from pushsvc.storage.redis.topology.demoted import is_demoted

logger = logging.getLogger(__name__)

CANARY_SECONDS: Final = 0.5  # how often the worker sends itself a canary
SILENCE_SECONDS: Final = 2.0  # a canary that has not come back for so long: the subscription is not proven
LOOK_SECONDS: Final = 0.4  # least time between two checks that Redis is still the master
DEAF_SECONDS: Final = 30.0  # the same, for a canary behind many queued announcements: the subscription is dead
BATCH: Final = 500  # channels in one SSUBSCRIBE
# The pause after a command grows with its channels, so that many joins share the next one and a single one is fast.
PAUSE_PER_CHANNEL: Final = 0.005  # seconds
LONGEST_PAUSE: Final = 0.1
CROWD: Final = 100  # channels that wait: enough for a command, so that a crowd need not wait for the pause to end


class PubSub:
    """One plain connection, whose reader and writer are a greenlet each. `wanted` outlives the connection."""

    def __init__(self, client: redis.Redis, store: RedisClient, worker_id: str) -> None:
        self._client = client
        self._store = store
        self._keys = store.keys
        self._own = self._keys.control(worker_id)
        self._wanted: set[str] = set()
        self._queue: list[tuple[str, str]] = []  # (SSUBSCRIBE or SUNSUBSCRIBE, key) yet to be sent
        self._asked = False  # a probe is to be sent
        self._probing: Callable[[Any], None] | None = None  # the probe under way; callers meanwhile share the next
        self._awaited = Awaited()
        self._role = RoleAnswers(store.fence)
        self._looked = 0.0  # monotonic times
        self._queued = gevent.event.Event()
        self._crowd = gevent.event.Event()
        self._unproven = gevent.event.Event()  # set while the subscription is new and unproven
        self._connection: ConnectionInterface | None = None
        self._heard = 0.0  # time of the last canary that came back
        self._said = 0.0  # time of the last canary that was sent
        world = (redis.RedisError, Unavailable, OSError)
        self._reader = Loop("bus reader", self._read, expected=world)
        self._writer = Loop("bus writer", self._write, expected=world)
        self._canary = Loop("bus canary", self._send_canaries, expected=world)
        self._loops = (self._reader, self._writer, self._canary)

    def start(
        self, subscription: SubscriptionListener, announcements: AnnouncementListener, control: ControlListener
    ) -> None:
        """Connect, and report to these from then on. Harmless when repeated."""
        self._subscription, self._announcements, self._control = subscription, announcements, control
        for loop in self._loops:
            loop.start()

    def stop(self) -> None:
        """End the loops; the connection is closed."""
        for loop in self._loops:
            loop.stop()

    @property
    def live(self) -> bool:
        """Whether the subscription is proven: the worker's canary came back a moment ago."""
        return self._reader.healthy and self._canary.healthy and time.monotonic() - self._heard < SILENCE_SECONDS

    @property
    def refused(self) -> NoRights | None:
        """The reason why it is not live, if the account lacks a right."""
        return next((loop.refused for loop in self._loops if loop.refused is not None), None)

    def subscribe(self, channels: Iterable[str]) -> None:
        """Subscribe; `SubscriptionListener.on_subscribed` follows for each, also after every reconnection."""
        for channel in channels:
            if channel not in self._wanted:
                self._wanted.add(channel)
                self._put("SSUBSCRIBE", self._keys.log(channel))

    def unsubscribe(self, channels: Iterable[str]) -> None:
        """Unsubscribe."""
        for channel in channels:
            if channel in self._wanted:
                self._wanted.discard(channel)
                self._put("SUNSUBSCRIBE", self._keys.log(channel))

    def request_clock(self) -> None:
        """Run `SubscriptionListener.probe`, once all subscriptions requested so far are confirmed."""
        self._asked = True
        self._queued.set()

    def send_control(self, worker: str, word: str) -> None:
        """Send a message to a worker's ControlListener. Raises Unavailable."""
        self._store.execute_one(("SPUBLISH", self._keys.control(worker), word))

    def _put(self, command: str, key: str) -> None:
        if self._connection is None:
            return  # the next connection subscribes to all wanted channels
        if command == "SSUBSCRIBE":
            self._awaited.request(key)
        self._queue.append((command, key))
        self._queued.set()
        if len(self._queue) >= CROWD:
            self._crowd.set()

    def _read(self, loop: Loop) -> None:
        """Connect, subscribe to all wanted channels, and pass on messages; ends only by an error."""
        connection = subscription(self._client)
        try:
            connection.connect()
            self._store.load_scripts()
            connection.send_command("SSUBSCRIBE", self._own)
            self._heard = time.monotonic()
            self._subscription.on_connect()
            self._connection = connection
            self._queue.clear()
            self._asked = self._asked or self._probing is not None
            self._probing = None
            self._awaited.clear()
            self._awaited.await_keys([self._own])
            self._role.clear()
            for channel in self._wanted:
                self._put("SSUBSCRIBE", self._keys.log(channel))
            self._queued.set()
            turn = TimeSlice()
            for batch in batches(connection):
                self._handle(loop, batch)
                if time.monotonic() - self._heard > DEAF_SECONDS:
                    raise redis.TimeoutError("the subscription no longer hears this worker's own canary")
                turn.yield_if_over()  # reading buffered data never yields by itself
        finally:
            self._connection = None
            connection.disconnect()

    def _handle(self, loop: Loop, batch: Iterable[Any]) -> None:
        """Pass on messages in order; consecutive announcements together."""
        announced: list[Announcement] = []
        for message in batch:
            pushed = isinstance(message, hiredis.PushNotification)
            if pushed and message[0] == b"smessage" and (key := message[1].decode()) != self._own:
                announced.append((self._keys.channel_of(key), message[2]))
                continue
            if announced:
                self._announcements.on_messages(announced)
                announced = []
            if pushed:
                self._pushed(loop, *message)
            else:
                self._answered(message)
        if announced:
            self._announcements.on_messages(announced)

    def _pushed(self, loop: Loop, kind: bytes, raw_key: bytes, payload: Any) -> None:
        """Handle a confirmation, or a message on this worker's own channel."""
        key = raw_key.decode()
        if kind != b"smessage":
            self._awaited.strike_out(key)
        if key != self._own:
            if kind == b"ssubscribe":
                self._confirmed(key)
            return
        if kind == b"sunsubscribe":  # not requested: the node no longer has this partition
            raise redis.ConnectionError("this partition has moved to another node")
        self._heard = time.monotonic()
        if kind == b"ssubscribe":
            self._unproven.set()
        else:
            loop.report_healthy()
            if payload:
                self._control.on_control(payload.decode())
            else:
                metrics.BUS_LAG.observe(self._heard - self._said)

    def _confirmed(self, key: str) -> None:
        if self._awaited.is_confirmed(key):
            channel = self._keys.channel_of(key)
            if channel in self._wanted:
                self._subscription.on_subscribed(channel)

    def _answered(self, answer: Any) -> None:
        try:
            self._awaited.take(answer)
        except Refused as error:  # the next connection retries
            line = f"Redis refuses a subscription: {answer}"
            if isinstance(self._store.refusal(answer), NoRights):
                raise NoRights(line, retry_after=1) from error
            raise redis.ResponseError(line) from error
        if self._asked:
            self._queued.set()

    def _probed(self, answer: Any) -> None:
        probing, self._probing = self._probing, None
        if isinstance(answer, Exception):
            if is_demoted(answer):
                raise redis.ReadOnlyError(f"this Redis is the master no more: {answer}")
            line = f"redis does not tell the clock: {answer}"
            if is_news(line, SAME_SECONDS):
                logger.error("%s", line)
            gevent.spawn_later(LONGEST_PAUSE, self.request_clock)
        elif probing is not None:
            probing(answer)

    def _write(self, loop: Loop) -> None:
        """Send the queue in order; consecutive commands of the same kind are sent as one."""
        while True:
            loop.report_healthy()
            self._queued.wait()
            self._queued.clear()
            queue, self._queue = self._queue, []
            count = len(queue)
            connection = self._connection
            while queue and connection is not None and connection is self._connection:
                command = queue[0][0]
                same = 0
                while same < min(len(queue), BATCH) and queue[same][0] == command:
                    same += 1
                keys = [key for _, key in queue[:same]]
                self._awaited.await_keys(keys)
                connection.send_command(command, *keys, check_health=False)
                del queue[:same]
            # Sending may have blocked; a request since then needs the present queue confirmed first.
            free = self._probing is None and not self._queue
            if self._asked and free and connection is not None and connection is self._connection:
                self._asked = False
                commands, takers = zip(*self._questions(), strict=True)
                self._awaited.await_answers(takers)
                connection.send_packed_command([b"".join(map(hiredis.pack_command, commands))], check_health=False)
            self._crowd.clear()
            if len(self._queue) < CROWD:
                self._crowd.wait(min(LONGEST_PAUSE, count * PAUSE_PER_CHANNEL))

    def _questions(self) -> Iterator[tuple[Command, Callable[[Any], None]]]:
        """The next probe, and with it, at most once in LOOK_SECONDS, the check that this is a master."""
        probe, self._probing = self._subscription.probe()
        yield probe, self._probed
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            yield from ((command, self._role.take) for command in INTRODUCE)

    def _send_canaries(self, loop: Loop) -> None:
        while True:
            self._said = time.monotonic()
            _, *said = self._store.execute([("SPUBLISH", self._own, ""), *INTRODUCE])
            self._store.fence.check_role(introduction(*said))  # publishers may use another Redis than this subscription
            loop.report_healthy()
            self._unproven.wait(CANARY_SECONDS)
            self._unproven.clear()
