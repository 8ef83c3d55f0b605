"""Listens to the sentinels all the time, so that a planned failover is noticed: the old master then
accepts writes for many more seconds, and loses them."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import Any, Final

import gevent
import redis

from pushsvc.addresses.redis_address import Address
from pushsvc.concurrency.loops import Loop
from pushsvc.storage.redis.topology.sentinels import Sentinels

logger = logging.getLogger(__name__)

ASK_SECONDS: Final = 0.5  # between two requests, if nothing is announced
FIND_SECONDS: Final = 5.0  # between two requests to a sentinel for the others
_PROMOTES: Final = b"+failover-state-send-slaveof-noone"  # announced a moment before another master is promoted
_NEWS: Final = (_PROMOTES, b"+promoted-slave", b"+switch-master")


class Failover:
    """Listens to each sentinel in a greenlet of its own: one that does not answer delays no other."""

    def __init__(self, sentinels: Sentinels) -> None:
        self._sentinels = sentinels
        self._naming: set[redis.Redis] = set()  # those that name a master
        self._unnamed = False  # whether sentinels named a master before, and now none does
        self.loops = (Loop("sentinels", self._find, expected=()), *map(self._loop, sentinels.clients))

    def _loop(self, client: redis.Redis) -> Loop:
        where = "{host}:{port}".format_map(client.connection_pool.connection_kwargs)
        return Loop(f"sentinel {where}", lambda loop: self._run(loop, client), expected=())

    def _find(self, loop: Loop) -> None:
        """Find more sentinels. Only the sentinel that promotes another master announces it beforehand, and the URL may
        name just some of them, or one name for all. So this listens also to the sentinels that those know."""
        others: dict[Address, Loop] = {}
        try:
            while True:
                loop.report_healthy()
                found = self._sentinels.others()
                if found is not None:
                    for address in others.keys() - found:
                        others.pop(address).stop()
                    for address in found - others.keys():
                        others[address] = self._loop(self._sentinels.another(address))
                        others[address].start()
                gevent.sleep(FIND_SECONDS)
        finally:
            for each in others.values():
                each.stop()

    def _run(self, loop: Loop, client: redis.Redis) -> None:
        """Listen to one sentinel. One that does not answer does not make the worker unready: the others answer, or no
        failover is possible."""
        while True:
            loop.report_healthy()
            try:
                with closing(client.pubsub()) as pubsub:
                    pubsub.subscribe(*_NEWS)
                    while True:
                        self._ask(client)
                        self._wait(pubsub)
            except (redis.RedisError, OSError) as error:
                self._note(client, f"{type(error).__name__}: {error}")
            gevent.sleep(ASK_SECONDS)

    def _ask(self, client: redis.Redis) -> None:
        said = self._sentinels.ask(client)
        if said is not None:
            self._sentinels.hear(client, said)
        self._note(client, "" if said else "it knows no master of that name")

    def _wait(self, pubsub: Any) -> None:
        """Wait until it is time to ask again, or there is news."""
        try:
            news = pubsub.get_message(timeout=ASK_SECONDS)
        except redis.ResponseError:  # the account may not subscribe
            gevent.sleep(ASK_SECONDS)
            return
        if news and news["type"] == "message" and news["channel"] == _PROMOTES and self._is_ours(news["data"]):
            self._sentinels.hold()

    def _is_ours(self, text: bytes) -> bool:
        """Whether a message `slave <name> <host> <port> @ <service> <host> <port>` is about this master. `text`: its
        end."""
        if self._sentinels.known is None:
            return False
        host, port = self._sentinels.known
        return text.endswith(f" @ {self._sentinels.service} {host} {port}".encode())

    def _note(self, client: redis.Redis, why: str) -> None:
        """Log once that the last sentinel names no master any more, and once that one does again."""
        name = self._sentinels.service
        if not why:
            self._naming.add(client)
            if self._unnamed:
                logger.warning("the sentinels name the master of %s again", name)
                self._unnamed = False
        elif client in self._naming:
            self._naming.remove(client)
            if not self._naming:
                host, port = self._sentinels.known or ("nobody", 0)
                logger.warning("no sentinel names the master of %s (%s); it stays %s:%s", name, why, host, port)
                self._unnamed = True


def loops(client: redis.Redis) -> tuple[Loop, ...]:
    """The loops that follow the sentinels of this client; none, if it has no sentinels."""
    sentinels = client.connection_pool.connection_kwargs.get("sentinels")
    return Failover(sentinels).loops if isinstance(sentinels, Sentinels) else ()
