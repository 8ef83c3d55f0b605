"""Finds operations that fail or are unsafe on a partition although its Redis answers."""

from __future__ import annotations

import time
from typing import Final

import gevent

from pushsvc.checks.findings import findings, parse
from pushsvc.concurrency.loops import Loop
from pushsvc.config import Settings
from pushsvc.errors import NoRights, PushError, Unavailable, Unconfirmed, Unwritable
from pushsvc.storage.counts.presence import Presence
from pushsvc.storage.redis.client import RedisClient
from pushsvc.storage.redis.scripts import Command

LOOK_SECONDS: Final = 1.0
POLICY_SECONDS: Final = 5.0  # between two reads of INFO; so long may publishes go on after eviction is turned on
WAIT_SECONDS: Final = 2.0  # where replicas are missing, each check delays publishes


class Checkup:
    """Checks a partition all the time. It keeps both pipelines connected, so that a failure to connect is noticed
    before a request needs them."""

    def __init__(self, store: RedisClient, settings: Settings, presence: Presence) -> None:
        self._store = store
        self._settings = settings
        self._presence = presence
        self._had_folder = settings.data_dir.is_dir()
        self._policy_at = self._waited_at = float("-inf")  # monotonic times
        self._unconfirmed: str | None = None
        self.lacking: str | None = "This worker has not read from Redis yet."  # other workers may have it
        self.loop = Loop("checkup", self._run, expected=(Unavailable,))

    def problems(self) -> dict[str, str]:
        """Problems that stop only publishes: a sentence for each kind, by the kind's name."""
        found = {}
        if self._store.evicts:
            found["evicts"] = f"Publishes are refused: {self._store.evicts}"
        if self._unconfirmed:
            found["replicas"] = f"Publishes are refused: {self._unconfirmed}"
        if self._presence.refused:
            found["writes"] = f"Publishes are refused: {_without_advice(self._presence.refused)}"
        if self._had_folder and not self._settings.data_dir.is_dir():
            found["data_dir"] = "The data directory was deleted; what an embedded Redis keeps now ends with it."
        return found

    def _run(self, loop: Loop) -> None:
        while True:
            try:
                for look in (self._read, self._confirm):
                    try:
                        look()
                    except Unavailable:  # a proxy in between may have closed the connection just now
                        look()
                self.lacking = None
            except NoRights:
                self.lacking = None
                raise
            except PushError as error:
                self.lacking = f"This worker lacks a connection to Redis: {_without_advice(error)}"
            loop.report_healthy()
            gevent.sleep(LOOK_SECONDS)

    def _read(self) -> None:
        commands: list[Command] = [("GETRANGE", self._store.keys.epoch, -1, -1)]
        if time.monotonic() - self._policy_at >= POLICY_SECONDS:
            commands.append(("INFO", "memory"))
        answer, *info = self._store.read_each(commands)
        if isinstance(answer, Exception):
            raise self._store.refusal(answer)
        for raw in info:
            self._policy_at = time.monotonic()
            if isinstance(raw, bytes):
                found = findings(parse(raw), self._settings)
                self._store.evicts = next((each.text for each in found if each.evicts), None)

    def _confirm(self) -> None:
        """Write something, and check that enough replicas have it."""
        pause = LOOK_SECONDS if self._unconfirmed is None else WAIT_SECONDS
        if not self._settings.wait_replicas or time.monotonic() - self._waited_at < pause:
            return
        try:
            [answer] = self._store.execute_replicated([self._presence.living.sign()])
            self._unconfirmed = None
            if isinstance(answer, Exception):
                raise self._store.refusal(answer)
        except Unconfirmed as error:
            self._unconfirmed = _without_advice(error)
        except Unwritable:
            pass
        self._waited_at = time.monotonic()


def _without_advice(error: PushError) -> str:
    return f"{error.detail.partition(';')[0].rstrip('.')}."
