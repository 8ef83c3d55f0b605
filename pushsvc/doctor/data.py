"""Whether Redis keeps what it is given, and answers soon."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from typing import Final

import redis

from pushsvc.addresses.redis_address import CLUSTER_SCHEMES
from pushsvc.checks.findings import SECTIONS, findings
from pushsvc.checks.start import check_redis
from pushsvc.config import PREFIX, Settings, redis_url
from pushsvc.doctor.findings import Finding, Wrong
from pushsvc.errors import ConfigError, PushError
from pushsvc.storage.redis.client import connect
from pushsvc.storage.redis.keys import Keys

_SLOW_SECONDS: Final = 0.005
_TRIPS: Final = 20  # of which the median counts
_DOCS: Final = "docs/redis.md says what the service needs"
_KEPT: Final = "and in redis.conf, or where a cloud has its settings"
_MENDS: Final = {  # by the codes of pushsvc/checks/findings.py
    "evicts": f"CONFIG SET maxmemory-policy noeviction, {_KEPT}",
    "eviction-unknown": f"CONFIG SET maxmemory-policy noeviction, {_KEPT}",
    "replicas": f"start the replicas, or a smaller {PREFIX}WAIT_REPLICAS",
    "disk": "make room on the disk of Redis (df -h), or mend it; its log says which file",
    "persistence": f"CONFIG SET appendonly yes, {_KEPT}",
    "connections": f"a larger maxclients (CONFIG SET maxclients), {_KEPT}",
}


def server(settings: Settings) -> Iterator[Finding]:
    """Check what INFO says, and then run each operation of the service once, as its start does."""
    url = redis_url(settings)
    infos = _infos(url, settings)
    said = dict.fromkeys(each for info in infos for each in findings(info, settings))  # each once, of all partitions
    for code, text, evicts in said:
        yield Finding("Redis", f"EVENTS WILL BE LOST. {text}" if evicts else text, _MENDS[code])
    if any(each.evicts for each in said):
        return  # the start stops there
    try:
        warnings = check_redis(url, settings)
    except ConfigError as error:
        raise Wrong(error.detail, _DOCS) from error
    for text in warnings:
        if text not in {each.text for each in said}:
            yield Finding("Redis", text, _DOCS)
    version = infos[0].get("valkey_version") or infos[0].get("redis_version") if infos else None
    yield Finding("Redis", f"version {version or 'unknown'}, and all that the service needs works")


def latency(settings: Settings) -> Iterator[Finding]:
    """Check how long a round trip takes: each publish takes one at least."""
    url = redis_url(settings)
    trips = []
    try:
        with connect(url, None, _every(url, settings)[0], settings.redis_password_file) as client:
            for _ in range(_TRIPS):
                begun = time.monotonic()
                client.info("server")
                trips.append(time.monotonic() - begun)
    except (redis.RedisError, OSError, PushError) as error:
        raise Wrong(f"Redis does not answer: {error}", _DOCS) from error
    took = statistics.median(trips)
    if took > _SLOW_SECONDS:
        raise Wrong(f"Redis answers after {1000 * took:.0f} ms, and each publish waits for that",
                    "Redis nearer to the service, or on a machine that has time for it") from None  # fmt: skip
    yield Finding("latency", f"Redis answers after {1000 * took:.1f} ms")


def _every(url: str, settings: Settings) -> list[Keys]:
    """The partitions."""
    if url.startswith(CLUSTER_SCHEMES):
        return list(Keys(0, settings.partitions, settings.redis_prefix).all())
    return [Keys(0, 1, settings.redis_prefix)]


def _infos(url: str, settings: Settings) -> list[Mapping[str, object]]:
    """INFO of each partition; none of one that does not answer, of which `check_redis` has better words."""
    found = list[Mapping[str, object]]()
    for keys in _every(url, settings):
        try:
            with connect(url, None, keys, settings.redis_password_file) as client:
                found.append({name: value for section in SECTIONS for name, value in client.info(section).items()})
        except (redis.RedisError, OSError, PushError):
            continue
    return found
