"""Kinds of servers: tells operators which one answers where the URL takes it for another, and which URL it should
be."""

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
    """The scheme for a server of another kind: with TLS where the URL has it."""
    return f"{'rediss' if url.startswith(TLS_SCHEMES) else 'redis'}{kind}://"


def sentinel(url: str) -> str:
    """The sentence for a sentinel that answers where none should."""
    return f"a sentinel answers there; use {scheme(url, '+sentinel')}host:port/NAME-OF-THE-MASTER"


def modes(info: Mapping[str, str]) -> set[str | None]:
    """The modes in INFO's fields; Valkey has a field of its own."""
    return {info.get("redis_mode"), info.get("server_mode")}


def finds_sentinel(url: str, settings: Settings) -> bool:
    """Whether a sentinel is among the servers of a cluster's URL. Its refusal alone does not tell: a node whose
    CLUSTER was renamed knows no such command either."""
    nodes = nodes_of(url, settings.redis_password_file)
    for address in redis_address.parse(url).servers:
        with suppress(redis.RedisError, OSError):
            [info] = nodes.ask(address, ("INFO", "server"))
            if "sentinel" in modes(parse(info)):
                return True
    return False
