"""Redis Cluster: each new connection goes to the node that has the partition's slot now."""

from __future__ import annotations

from typing import Any

from redis.connection import Connection, ConnectionPool

from pushsvc.addresses.redis_address import Address, RedisUrl
from pushsvc.storage.redis import keys
from pushsvc.storage.redis.fencing import reject_slow_connect
from pushsvc.storage.redis.keys import Keys
from pushsvc.storage.redis.topology.connecting import PlainConnection, TlsConnection
from pushsvc.storage.redis.topology.layout import Layout
from pushsvc.storage.redis.topology.nodes import Nodes


class _ToOwner(PlainConnection):
    def __init__(self, *, nodes: Nodes, layout: Layout, slot: int, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]  # redis-py's
        self._nodes = nodes
        self._layout = layout
        self._slot = slot

    def connect(self) -> None:
        self._layout.agree()
        self.host, self.port = self._nodes.owner(self._slot)
        with reject_slow_connect(self):
            super().connect()  # type: ignore[no-untyped-call]


class _ToOwnerByTls(_ToOwner, TlsConnection):
    pass


def pool(url: RedisUrl, of: Keys, ask_seconds: float, **options: Any) -> ConnectionPool:
    """A pool of connections with these `options`. A node that does not answer within `ask_seconds` is skipped."""
    nodes = nodes_of(url, ask_seconds, **options)
    return ConnectionPool(
        connection_class=_ToOwnerByTls if url.tls else _ToOwner,
        nodes=nodes,
        layout=Layout(nodes, of),
        slot=keys.slot(of.tag),
        **options,
    )


def nodes_of(url: RedisUrl, ask_seconds: float, **options: Any) -> Nodes:
    """The nodes of a cluster, asked with the same options as `pool`."""
    kind = TlsConnection if url.tls else PlainConnection
    options |= {"socket_timeout": ask_seconds, "socket_connect_timeout": ask_seconds, "redis_connect_func": None}

    def connect(address: Address) -> Connection:
        host, port = address
        return kind(**options | {"host": host, "port": port})

    return Nodes([*url.servers], connect)
