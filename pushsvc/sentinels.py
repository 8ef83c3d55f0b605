"""Redis behind sentinels: each new connection goes to whom they call the master now."""

from __future__ import annotations

from typing import Any

from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedConnection

from pushsvc import connecting
from pushsvc.addresses import Address, RedisUrl
from pushsvc.connecting import PlainConnection, TlsConnection
from pushsvc.succession import promptly


class _ToMaster(SentinelManagedConnection, PlainConnection):
    """What a master that is one no longer refuses is an answer as any other: redis-py would drop those after it, too,
    and nobody would know what became of them."""

    def connect_to(self, address: Address) -> None:
        with promptly(self):
            super().connect_to(address)  # type: ignore[no-untyped-call]

    def read_response(self, *args: Any, **options: Any) -> Any:
        return Connection.read_response(self, *args, **options)


class _ToMasterByTls(_ToMaster, TlsConnection):
    pass


def pool(url: RedisUrl, ask_seconds: float, **options: Any) -> ConnectionPool:
    """For connections with these `options`. A sentinel that is silent for `ask_seconds` is passed over."""
    sentinels = Sentinel(
        [*url.servers],
        sentinel_kwargs=connecting.network(url)
        | {
            "socket_timeout": ask_seconds,
            "socket_connect_timeout": ask_seconds,
            "username": url.options.get("sentinel_username"),
            "password": url.options.get("sentinel_password"),
            "ssl": url.tls,
            "retry": Retry(NoBackoff(), 0),
        },
    )
    return SentinelConnectionPool(
        url.service, sentinels, connection_class=_ToMasterByTls if url.tls else _ToMaster, **options
    )
