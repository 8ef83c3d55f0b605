"""Of which kind the server is that answers, where the URL takes it for another; and which URL it should be, for
operators."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import redis

from pushsvc.addresses import redis_address
from pushsvc.addresses.redis_options import TLS_SCHEMES
from pushsvc.checks.findings import parse
from pushsvc.config import Settings
from pushsvc.storage.redis.client import nodes_of


def scheme(url: str, kind: str = "") -> str:
    """For a server of another kind: with TLS where the URL has that."""
    return f"{'rediss' if url.startswith(TLS_SCHEMES) else 'redis'}{kind}://"


def sentinel(url: str) -> str:
    return f"a sentinel answers there; use {scheme(url, '+sentinel')}host:port/NAME-OF-THE-MASTER"


def modes(info: Mapping[str, str]) -> set[str | None]:
    """Valkey has a name of its own for it."""
    return {info.get("redis_mode"), info.get("server_mode")}


def finds_sentinel(url: str, settings: Settings) -> bool:
    """Whether one is among the servers of a cluster's URL. It says no more than a node whose CLUSTER was renamed: that
    it does not know this command."""
    nodes = nodes_of(url, settings.redis_password_file)
    for address in redis_address.parse(url).servers:
        with suppress(redis.RedisError, OSError):
            [info] = nodes.ask(address, ("INFO", "server"))
            if "sentinel" in modes(parse(info)):
                return True
    return False
