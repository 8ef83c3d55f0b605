"""A master and its replica."""

from __future__ import annotations

from pathlib import Path

import redis

from tests.support.clients.eventsource import until
from tests.support.ports import free_port
from tests.support.redis.servers import Servers


class Pair(Servers):
    """A master and its replica."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.first, self.second = free_port(), free_port()
        self.serve(self.first)
        self.serve(self.second, "--replicaof", "127.0.0.1", str(self.first))
        until(lambda: redis.Redis(port=self.first).wait(1, 100) == 1, "the replica")
