"""Kinds of servers: tells operators which kind answers where the URL names another, and which URL is right."""

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
    """The error text for a sentinel that answers in place of a Redis."""
    return f"a sentinel answers there; use {scheme(url, '+sentinel')}host:port/NAME-OF-THE-MASTER"


def modes(info: Mapping[str, str]) -> set[str | None]:
    """The modes in INFO's fields; Valkey has a field of its own."""
    return {info.get("redis_mode"), info.get("server_mode")}


def finds_sentinel(url: str, settings: Settings) -> bool:
    """Whether a sentinel is among the servers of a cluster's URL. The refusal of CLUSTER alone does not show
    it: a node may have that command renamed."""
    nodes = nodes_of(url, settings.redis_password_file)
    for address in redis_address.parse(url).servers:
        with suppress(redis.RedisError, OSError):
            [info] = nodes.ask(address, ("INFO", "server"))
            if "sentinel" in modes(parse(info)):
                return True
    return False
