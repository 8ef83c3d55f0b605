"""Redis Cluster: each new connection goes to the node that has the partition's slot now."""

from __future__ import annotations

from typing import Any, Final

from redis.connection import Connection, ConnectionPool, SSLConnection

from pushsvc import addresses, keys
from pushsvc.addresses import Address
from pushsvc.keys import Keys
from pushsvc.layout import Layout
from pushsvc.nodes import Nodes
from pushsvc.succession import promptly

_PORT: Final = 6379


class _ToOwner(Connection):
    def __init__(self, *, nodes: Nodes, layout: Layout, slot: int, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]  # redis-py's
        self._nodes = nodes
        self._layout = layout
        self._slot = slot

    def connect(self) -> None:
        self._layout.agree()
        self.host, self.port = self._nodes.owner(self._slot)
        with promptly(self):
            super().connect()  # type: ignore[no-untyped-call]


class _ToOwnerByTls(_ToOwner, SSLConnection):
    pass


def pool(url: str, of: Keys, ask_seconds: float, **options: Any) -> ConnectionPool:
    """For `redis+cluster://[user:password@]host:port,host:port`, some of the nodes; with `rediss` all speak TLS. A node
    that is silent for `ask_seconds` is passed over. Raises ValueError."""
    found = addresses.parse(url, _PORT)
    nodes = nodes_of(url, ask_seconds, **options)
    return ConnectionPool(
        connection_class=_ToOwnerByTls if found.tls else _ToOwner,
        nodes=nodes,
        layout=Layout(nodes, of),
        slot=keys.slot(of.tag),
        **options | {"username": found.user, "password": found.password},
    )


def nodes_of(url: str, ask_seconds: float, **options: Any) -> Nodes:
    """As `pool`."""
    found = addresses.parse(url, _PORT)
    if found.path:
        raise ValueError("a cluster has no databases")
    kind = SSLConnection if found.tls else Connection
    options |= {"username": found.user, "password": found.password, "redis_connect_func": None}
    options |= {"socket_timeout": ask_seconds, "socket_connect_timeout": ask_seconds}

    def connect(address: Address) -> Connection:
        host, port = address
        return kind(**options | {"host": host, "port": port})

    return Nodes(found.servers, connect)
