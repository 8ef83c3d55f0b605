"""Redis Cluster: each new connection goes to the node that has the partition's slot now."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

import redis
from redis.connection import Connection, ConnectionPool, SSLConnection

from pushsvc import addresses, keys
from pushsvc.addresses import Address
from pushsvc.keys import Keys
from pushsvc.succession import promptly

_PORT: Final = 6379


class WrongPartitions(redis.ConnectionError):
    """The data has another number of partitions than the service was told; nothing of it may be touched."""


class Nodes:
    """Who has which slot, as any of the nodes says: those of the URL, and all that were heard of since."""

    def __init__(self, seeds: list[Address], connection: Callable[[Address], Connection], of: Keys) -> None:
        self._known = seeds
        self._seeds = seeds
        self._connection = connection
        self._keys = of
        self._agreed = False  # with the data, on the number of partitions

    def owner(self, slot: int) -> Address:
        """Asked anew each time: whoever needs a connection lost one, or was sent away. Raises RedisError."""
        if not self._agreed:
            self._agree(self._locate(keys.slot(keys.COUNTED)))
        return self._locate(slot)

    def _locate(self, slot: int) -> Address:
        failure: Exception = redis.ConnectionError(f"no node of the cluster has slot {slot}")
        claimed: Address | None = None
        for address in random.sample(self._known, len(self._known)):  # one may be cut off from the others
            try:
                ranges = self._ask(address, "CLUSTER", "SLOTS")
            except (redis.RedisError, OSError) as error:
                failure = error
                continue
            heard = [_address(node, address) for _, _, *nodes in ranges for node in nodes]
            self._known = list(dict.fromkeys([*self._seeds, *heard]))
            owner = next((_address(each[2], address) for each in ranges if each[0] <= slot <= each[1]), None)
            if owner is not None and owner != address:
                return owner
            claimed = owner or claimed  # by itself: it may have been away, and not know yet who has it since
        if claimed is None:
            raise failure
        return claimed

    def _ask(self, address: Address, *command: Any) -> Any:
        connection = self._connection(address)
        try:
            connection.connect()
            connection.send_command(*command)
            return connection.read_response()
        finally:
            connection.disconnect()

    def _agree(self, address: Address) -> None:
        """The first to come says how many partitions there are, and everybody else has to have the same."""
        ours = self._keys.partitions
        said = self._ask(address, "SET", self._keys.count, ours, "NX", "GET")
        if said is not None and int(said) != ours:
            raise WrongPartitions(f"the data there has {int(said)} partitions and not {ours}")
        self._agreed = True


def _address(node: list[Any], asked: Address) -> Address:
    """An empty host means: the one that was asked."""
    return node[0].decode() if node[0] else asked[0], int(node[1])


class _ToOwner(Connection):
    def __init__(self, *, nodes: Nodes, slot: int, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]  # redis-py's
        self._nodes = nodes
        self._slot = slot

    def connect(self) -> None:
        self.host, self.port = self._nodes.owner(self._slot)
        with promptly(self):
            super().connect()  # type: ignore[no-untyped-call]


class _ToOwnerByTls(_ToOwner, SSLConnection):
    pass


def pool(url: str, of: Keys, ask_seconds: float, **options: Any) -> ConnectionPool:
    """For `redis+cluster://[user:password@]host:port,host:port`, some of the nodes; with `rediss` all speak TLS. A node
    that is silent for `ask_seconds` is passed over. Raises ValueError."""
    found = addresses.parse(url, _PORT)
    if found.path:
        raise ValueError("a cluster has no databases")
    options |= {"username": found.user, "password": found.password}
    kind = SSLConnection if found.tls else Connection

    def connection(address: Address) -> Connection:
        timeouts = {"socket_timeout": ask_seconds, "socket_connect_timeout": ask_seconds}
        host, port = address
        return kind(**options | timeouts | {"host": host, "port": port, "redis_connect_func": None})

    return ConnectionPool(
        connection_class=_ToOwnerByTls if found.tls else _ToOwner,
        nodes=Nodes(found.servers, connection, of),
        slot=keys.slot(of.tag),
        **options,
    )
