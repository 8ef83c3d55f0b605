"""Guarantees that a working Redis cannot give, as its INFO shows. CONFIG is never used, as clouds forbid it. The start
and the running worker use the same judgements. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from pushsvc.config import PREFIX, Settings

SECTIONS: Final = ("server", "clients", "memory", "persistence", "replication")  # sections of INFO that are read here
_LANES: Final = 3  # connections of a worker to a partition: commands, large reads, the subscription
_EVICTING: Final = re.compile(r"(allkeys|volatile)-")


class Finding(NamedTuple):
    """A fact that operators should know. `code`: a word for programs; `text`: a sentence for people. `evicts`: Redis
    may evict events, so none may be acknowledged: the start stops, and publishes are refused."""

    code: str
    text: str
    evicts: bool = False


def parse(raw: bytes) -> dict[str, str]:
    """Parse the answer to INFO into its fields."""
    lines = (line.split(":", 1) for line in raw.decode("utf-8", "replace").splitlines() if not line.startswith("#"))
    return {words[0]: words[1] for words in lines if len(words) == 2}


def findings(info: Mapping[str, object], settings: Settings) -> list[Finding]:
    """Judge the fields of the SECTIONS, as `parse` or redis-py gives them. A missing field gives no finding."""
    fields = {name: str(value) for name, value in info.items()}
    return [
        *_policy(fields.get("maxmemory_policy")),
        *_replicas(fields, settings.wait_replicas),
        *_disk(fields),
        *_connections(fields, settings),
    ]


def _policy(policy: str | None) -> Iterator[Finding]:
    if policy is None:
        yield Finding(
            "eviction-unknown",
            "Redis does not say what it does when its memory is full; its maxmemory-policy should be noeviction.",
        )
    elif _EVICTING.match(policy):  # also volatile-…, as every key of the service has an expiry
        yield Finding(
            "evicts",
            f"Redis evicts events when its memory is full (maxmemory-policy {policy}); it should be noeviction.",
            evicts=True,
        )


def replicas(info: Mapping[str, object]) -> int:
    """The number of replicas that follow this master."""
    named = [str(value) for name, value in info.items() if re.fullmatch(r"slave\d+", name)]
    return sum(bool(re.search(r"state\W+online", each)) for each in named)


def _replicas(fields: Mapping[str, str], wanted: int) -> Iterator[Finding]:
    there = replicas(fields)
    if fields.get("role") == "master" and there < wanted:
        yield Finding(
            "replicas",
            f"Redis has {there} of the {wanted} replicas that {PREFIX}WAIT_REPLICAS waits for: until they are there "
            "no publish is acknowledged.",
        )


def _disk(fields: Mapping[str, str]) -> Iterator[Finding]:
    if fields.get("aof_last_write_status") == "err" or (
        fields.get("rdb_last_bgsave_status") == "err" and fields.get("aof_enabled") != "1"
    ):
        yield Finding("disk", "Redis cannot write to its disk.")
    if fields.get("aof_enabled") == "0":
        yield Finding(
            "persistence",
            "Redis keeps no append-only file (appendonly no): what it acknowledged since its last snapshot, if it "
            "makes any, is lost when it ends. Listeners are told.",
        )


def _connections(fields: Mapping[str, str], settings: Settings) -> Iterator[Finding]:
    """Judge the connections of a single server. A cluster is left out, as each node's number of partitions changes."""
    most = fields.get("maxclients", "")
    needed = 2 * settings.workers * (_LANES + bool(settings.wait_replicas))  # twice: a reload has old and new workers
    if most.isdecimal() and int(most) < needed and fields.get("cluster_enabled", "0") == "0":
        yield Finding("connections", f"Redis takes {most} connections (maxclients); a reload here needs {needed}.")
