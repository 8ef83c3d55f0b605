"""Redis behind sentinels: each new connection goes to whom they call the master now."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from redis.connection import Connection, ConnectionPool, SSLConnection
from redis.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedConnection

_PORT: Final = 26379
# The master's account is in the address; the sentinels have their own.
_OPTIONS: Final = frozenset({"db", "sentinel_username", "sentinel_password"})


class _ToMaster(SentinelManagedConnection):
    """What a master that is one no longer refuses is an answer as any other: redis-py would drop those after it, too,
    and nobody would know what became of them."""

    def read_response(self, *args: Any, **options: Any) -> Any:
        return Connection.read_response(self, *args, **options)


class _ToMasterByTls(_ToMaster, SSLConnection):
    pass


def pool(url: str, ask_seconds: float, **options: Any) -> ConnectionPool:
    """For `redis+sentinel://[user:password@]host:port,host:port/service?db=0&sentinel_password=…`; with `rediss` the
    master and the sentinels speak TLS. A sentinel that is silent for `ask_seconds` is passed over.

    Raises ValueError.
    """
    parts = urlsplit(url)
    query = {name: values[-1] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
    if not query.keys() <= _OPTIONS:
        raise ValueError(f"unknown options: {' '.join(query.keys() - _OPTIONS)}")
    tls = parts.scheme.startswith("rediss")
    account, _, addresses = parts.netloc.rpartition("@")
    user, _, password = account.partition(":") if ":" in account else ("", "", account)
    sentinels = Sentinel(
        [_address(each) for each in addresses.split(",")],
        sentinel_kwargs={
            "socket_timeout": ask_seconds,
            "socket_connect_timeout": ask_seconds,
            "username": query.get("sentinel_username"),
            "password": query.get("sentinel_password"),
            "ssl": tls,
        },
    )
    return SentinelConnectionPool(
        _service(parts),
        sentinels,
        connection_class=_ToMasterByTls if tls else _ToMaster,
        username=unquote(user) or None,
        password=unquote(password) or None,
        db=int(query.get("db", "0")),
        **options,
    )


def _address(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.username or parts.path:
        raise ValueError("an address of a sentinel should be host or host:port")
    return parts.hostname, parts.port or _PORT


def _service(parts: SplitResult) -> str:
    name = unquote(parts.path.removeprefix("/"))
    if not name or "/" in name:
        raise ValueError("the path should be the name under which the sentinels know the master")
    return name
