"""Rehearses the service's work before it starts: the real scripts, over the real kinds of connection, for a user name
that no client can have. It removes what it wrote, and no stream receives it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import hiredis
import redis
from redis.connection import ConnectionInterface
from redis.exceptions import NoScriptError, ResponseError

from pushsvc.attendance import hooks, register
from pushsvc.checks.rights import NOBODY
from pushsvc.config import Settings
from pushsvc.errors import PushError
from pushsvc.events.event import Event
from pushsvc.llm.making.succession import claim
from pushsvc.llm.outcome import COMPLETED, Ending
from pushsvc.llm.repeats import RepeatKey
from pushsvc.llm.request import Question
from pushsvc.llm.store import PendingFrames, Records
from pushsvc.settings.rate import Rate
from pushsvc.storage.counts import budgets
from pushsvc.storage.counts.presence import Presence
from pushsvc.storage.counts.rates import Along, Rates
from pushsvc.storage.log import EventLog
from pushsvc.storage.redis.client import RedisClient
from pushsvc.storage.redis.fencing import Fence
from pushsvc.storage.redis.keys import Keys
from pushsvc.storage.redis.pipeline import AutoPipeline
from pushsvc.storage.redis.scripts import Command, Script
from pushsvc.storage.redis.subscription.connection import batches, subscription
from pushsvc.storage.retention import Retention
from pushsvc.storage.tickets.admission import Evidence
from pushsvc.storage.tickets.tickets import Tickets

# Keys that belong to no single user or worker.
_SHARED: Final = ("clock", "epoch", "loss", "server", "producers", "workers", "revocations")


class Refused(Exception):
    """Redis refuses something that the service needs. `command`: its name for people."""

    def __init__(self, command: str, error: Exception) -> None:
        super().__init__(str(error))
        self.command = command
        self.error = error


class Unheard(Exception):
    """The subscription receives nothing, though Redis refused no command."""


@dataclass
class _Visitor:
    """A connection of the user, for presence to count."""

    counted_as: str
    counted: bool = False
    ousts: bool = True


class _Stage(RedisClient):
    """A RedisClient that raises Refused with Redis's own words, and whose connections are closed at the end."""

    def __init__(self, client: redis.Redis, keys: Keys, fence: Fence, wait_replicas: int) -> None:
        super().__init__(client, keys, fence, wait_replicas=wait_replicas)
        self._client = client
        self._open: dict[int, ConnectionInterface] = {}
        self._touched: dict[str, None] = {}

    def _run(self, pipeline: AutoPipeline, commands: Sequence[Command], **_: Any) -> list[Any]:
        """Run commands. Unlike the service's own, each refusal raises."""
        connection = self.connect(pipeline)
        answers = exchange(connection, commands)
        missing = [number for number, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if missing:  # another client keeps flushing the scripts
            exchange(connection, [("SCRIPT", "LOAD", script.source) for script in Script.all])
            again = exchange(connection, [commands[number] for number in missing])
            for number, answer in zip(missing, again, strict=True):
                answers[number] = answer
        for command, answer in zip(commands, answers, strict=True):
            keys = command[3 : 3 + command[2]] if command[0].startswith("EVAL") else command[1:2]
            self._touched.update(dict.fromkeys(keys))
            if isinstance(answer, Exception):
                raise Refused(_name(command), answer)
        return answers

    def begin(self, command: Command) -> Callable[[], Any]:
        """Run the command and wait for it, unlike the service."""
        answer = self.execute_one(command)
        return lambda: answer

    def send(self, command: Command) -> None:
        """Run the command and wait for it, unlike the service."""
        self.execute_one(command)

    def execute_replicated(self, commands: Sequence[Command], weights: Sequence[int] = ()) -> list[Any]:  # noqa: ARG002
        """Run the commands without waiting for replicas: their number was checked before."""
        return self.execute_each(commands)

    def connect(self, pipeline: AutoPipeline | None = None) -> ConnectionInterface:
        """Connect as the pipeline does; one connection for each pipeline."""
        pipeline = pipeline or self._main
        if id(pipeline) not in self._open:
            pool = self._client.connection_pool
            self._open[id(pipeline)] = pool.connection_class(**pool.connection_kwargs)
            self._open[id(pipeline)].connect()
        return self._open[id(pipeline)]

    def connect_all(self) -> None:
        """Open as many connections as the service has at a time, without the subscription."""
        for pipeline in (self._main, self._reads, self._replicated):
            self.connect(pipeline)

    def clear(self) -> None:
        """Remove what was written."""
        mine = self._touched.keys() - {getattr(self.keys, name) for name in _SHARED}
        if mine:
            exchange(self.connect(), [("DEL", *mine)])

    def close(self) -> None:
        for connection in self._open.values():
            connection.disconnect()


def exchange(connection: ConnectionInterface, commands: Sequence[Command]) -> list[Any]:
    """Run commands in one round trip; each refusal is an exception among the answers."""
    connection.send_packed_command([hiredis.pack_command(command) for command in commands], check_health=False)
    answers: list[Any] = []
    for _ in commands:
        try:
            answers.append(connection.read_response())
        except ResponseError as error:
            answers.append(error)
    return answers


def _name(command: Command) -> str:
    name = str(command[0])
    script = next((each.name for each in Script.all if command[1] in (each.sha, each.source)), None)
    return f"{name} of {script}.lua" if script else name


def rehearse(client: redis.Redis, keys: Keys, fence: Fence, settings: Settings) -> None:
    """Do the service's work once. `client` makes the handshake of `fence`. Raises Refused, Unheard, Unavailable, or
    RedisError."""
    stage = _Stage(client, keys, fence, settings.wait_replicas)
    user = keys.draw(lambda: f"{NOBODY} {secrets.token_hex(6)}")  # with a space, which no user name has
    listener = _Listener(client)
    try:
        stage.connect_all()
        listener.connect()
        log = EventLog(stage, Retention.from_settings(settings))
        _listen(listener, stage, log, user)
        try:
            _work(stage, log, settings, user, listener)
        finally:
            with suppress(redis.RedisError, OSError):  # remaining keys expire
                stage.clear()
    finally:
        listener.close()
        stage.close()


class _Listener:
    """A connection like the subscription's, on channels of its own."""

    def __init__(self, client: redis.Redis) -> None:
        self._connection = subscription(client)
        self._arrived: list[Any] = []

    def connect(self) -> None:
        try:
            self._connection.connect()
        except ResponseError as error:
            raise Refused("HELLO 3", error) from error
        self._batches = batches(self._connection)

    def close(self) -> None:
        self._connection.disconnect()

    def ask(self, *command: Any, answers: int = 1) -> None:
        self._connection.send_command(*command)
        for _ in range(answers):
            self.hear(str(command[0]))

    def hear(self, what: str) -> None:
        """Wait for one message, caused by `what`. Raises Refused, or Unheard."""
        while not self._arrived:
            try:
                self._arrived += next(self._batches)
            except (TimeoutError, redis.TimeoutError) as error:
                raise Unheard(f"nothing comes of {what} on the connection that has subscribed") from error
            except (redis.ConnectionError, OSError) as error:
                text = "Redis closes the subscription: its client-output-buffer-limit pubsub is too low"
                raise Unheard(text) from error
        message = self._arrived.pop(0)
        if isinstance(message, Exception):
            raise Refused(what, message)


def _listen(listener: _Listener, stage: _Stage, log: EventLog, user: str) -> None:
    """Check that an announcement on a channel is received."""
    keys = stage.keys
    own, channel = keys.control(f"{NOBODY} {secrets.token_hex(6)}"), keys.log(f"user:{user}")
    listener.ask("SSUBSCRIBE", own, channel, answers=2)
    listener.ask(*log.probe([f"user:{user}"]))
    stage.execute_one(("SPUBLISH", own, ""))
    listener.hear("SPUBLISH")
    listener.ask("SUNSUBSCRIBE", own)


def _work(store: RedisClient, log: EventLog, settings: Settings, user: str, listener: _Listener) -> None:
    worker = f"{NOBODY} {secrets.token_hex(6)}"
    channel = f"user:{user}"
    clock = log.clock()
    rates = Rates(store, "RATE_CHECK", [Rate(9, 1, "")])
    event = Event(channel, "message", "check", key="check")
    receipts = log.append([event], Along(rates.share(user, 1))) + log.append([event, event])
    for each in receipts:
        if isinstance(each, PushError):
            raise each
        receipt = each
    listener.hear("SPUBLISH in scripts")
    log.read([channel], clock.last, clock, 1)
    log.read_back(channel, receipt.id, clock, 1)
    log.ids(channel, clock.last)
    log.advance({user: receipt.id})
    log.standing(user)
    log.record_loss((clock.last, clock.last))
    presence = Presence(store, worker, 1)
    visitors = [_Visitor(user), _Visitor(user)]
    for visitor in visitors:  # the second exceeds the cap, and ends the first
        over = presence.count_in(visitor)
        began = presence.now()
        presence.note(user, began)
        if over:
            presence.oust_for(user, began)
    presence.total(user)
    for visitor in visitors:
        presence.count_out(visitor)
    presence.write()
    presence.give_way()
    presence.living.workers(presence.now() // 1000)
    presence.living.leave()
    for command in (*register.trial(store.keys, worker), hooks.hold(store.keys.here(worker), worker, leave=False)):
        store.execute_one(command)
    for command in (rates.command(user, 1), *budgets.trial(store.keys, user)):
        store.execute_one(command)
    _answer(store, log, user, worker, settings)
    _ticket(store, user, settings)


def _answer(store: RedisClient, log: EventLog, user: str, worker: str, settings: Settings) -> None:
    records = Records(store, log, worker, Retention.from_settings(settings), most_per_user=1, most_bytes=1)
    try:
        generation, _ = records.begin(user, Question(b"{}", stream=False, cancels=False), RepeatKey("check"))
        said = records.say([PendingFrames(generation, 1, [b"data: check\n\n"])])
        store.execute([said, claim(store.keys, generation, worker, worker)])
        store.execute_one(records.finish(PendingFrames(generation, 2, []), user, Ending(COMPLETED), worker, ours=True))
        records.newest(user, 1, None, with_messages=True)
        records.pack(generation)
        records.keep_answer(generation, b"{}")
    finally:
        records.forget_worker(worker)


def _ticket(store: RedisClient, user: str, settings: Settings) -> None:
    tickets = Tickets(store, ["a secret for nobody, and for a moment"], settings.leeway_seconds, 1)
    tickets.revoke_all(user, 0)
    ticket = tickets.issue(user, [], 60, None, 1)
    admission = tickets.admit(ticket, Evidence({}, "", same_origin=False, by_id=True))
    assert admission.use is not None
    tickets.begin(admission.use, user, "check", None)
    tickets.keep(ticket)
    tickets.revoke([admission.use.proof or ""])
