"""Redis behind sentinels: each new connection goes to whom they call the master now."""

from __future__ import annotations

from typing import Any, Final

from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool, SSLConnection
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedConnection

from pushsvc import addresses
from pushsvc.addresses import Address
from pushsvc.succession import promptly

_PORT: Final = 26379
# The master's account is in the address; the sentinels have their own.
_OPTIONS: Final = frozenset({"db", "sentinel_username", "sentinel_password"})


class _ToMaster(SentinelManagedConnection):
    """What a master that is one no longer refuses is an answer as any other: redis-py would drop those after it, too,
    and nobody would know what became of them."""

    def connect_to(self, address: Address) -> None:
        with promptly(self):
            super().connect_to(address)  # type: ignore[no-untyped-call]

    def read_response(self, *args: Any, **options: Any) -> Any:
        return Connection.read_response(self, *args, **options)


class _ToMasterByTls(_ToMaster, SSLConnection):
    pass


def pool(url: str, ask_seconds: float, **options: Any) -> ConnectionPool:
    """For `redis+sentinel://[user:password@]host:port,host:port/service?db=0&sentinel_password=…`; with `rediss` the
    master and the sentinels speak TLS. A sentinel that is silent for `ask_seconds` is passed over.

    Raises ValueError.
    """
    found = addresses.parse(url, _PORT, _OPTIONS)
    sentinels = Sentinel(
        found.servers,
        sentinel_kwargs={
            "socket_timeout": ask_seconds,
            "socket_connect_timeout": ask_seconds,
            "username": found.options.get("sentinel_username"),
            "password": found.options.get("sentinel_password"),
            "ssl": found.tls,
            "retry": Retry(NoBackoff(), 0),
        },
    )
    return SentinelConnectionPool(
        _service(found.path),
        sentinels,
        connection_class=_ToMasterByTls if found.tls else _ToMaster,
        username=found.user,
        password=found.password,
        db=int(found.options.get("db", "0")),
        **options,
    )


def _service(name: str) -> str:
    if not name or "/" in name:
        raise ValueError("the path should be the name under which the sentinels know the master")
    return name
