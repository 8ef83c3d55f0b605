"""Keeps the number of partitions that the data of a cluster has. It is stored with the data; a service that is
configured with another number changes nothing."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import redis

from pushsvc.storage.redis import keys
from pushsvc.storage.redis.keys import Keys
from pushsvc.storage.redis.topology.nodes import Nodes


class WrongPartitions(redis.ConnectionError):
    """The data has another number of partitions than the service is configured with; it must not be changed."""


class Layout:
    """Agrees on the number. Each partition stores it, so that it can be served while others are lost. Older data has
    it in one of them alone."""

    def __init__(self, nodes: Nodes, of: Keys) -> None:
        self._nodes = nodes
        self._keys = of
        self._agreed = False

    def agree(self) -> None:
        """Store the number, or compare it with the stored one. Raises WrongPartitions, RedisError, or OSError."""
        if self._agreed:
            return
        if not self._is_ours(self._ask(self._keys.tag, "GET", self._keys.own_count)):
            self._agree_elsewhere()
            with suppress(redis.ResponseError):  # it may refuse writes just now
                self._ask(self._keys.tag, "SET", self._keys.own_count, self._keys.partitions, "NX")
        self._agreed = True

    def _agree_elsewhere(self) -> None:
        """Agree with any other reachable partition."""
        ours = self._keys
        witnesses = [(keys.COUNTED, ours.count)]
        witnesses += [(each.tag, each.own_count) for each in ours.all() if each.tag not in (keys.COUNTED, ours.tag)]
        for tag, name in witnesses:
            with suppress(redis.ResponseError, redis.ConnectionError, redis.TimeoutError, OSError):
                said = self._ask(tag, "GET", name)
                if said is not None:
                    break
        else:
            said = self._ask(keys.COUNTED, "SET", ours.count, ours.partitions, "NX", "GET")
        self._is_ours(said)

    def _is_ours(self, said: Any) -> bool:
        """Whether a stored number is this one; False: none is stored. Raises WrongPartitions."""
        if said is not None and int(said) != self._keys.partitions:
            raise WrongPartitions(f"the data there has {int(said)} partitions and not {self._keys.partitions}")
        return said is not None

    def _ask(self, tag: str, *command: Any) -> Any:
        return self._nodes.ask(self._nodes.owner(keys.slot(tag)), command)[0]
