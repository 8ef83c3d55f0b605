"""Every Redis key, in one place. `{0}` is the hash tag of the partition: its keys live on one cluster shard.

A channel's log key is also the pub/sub channel that announces it. Names are short where there is one per user.
"""

from __future__ import annotations

from typing import Final

_PREFIX: Final = "pushsvc{0}:"
_LOG: Final = _PREFIX + "log:"

CLOCK: Final = _PREFIX + "clock"  # stream of one entry; its last id is the last id drawn
EPOCH: Final = _PREFIX + "epoch"  # string; the clock's first id, and what followed on it: see lives.py
SERVER: Final = _PREFIX + "server"  # string; the process of Redis that had the data last


def log(channel: str) -> str:
    """Stream: the kept events of a channel."""
    return _LOG + channel


def channel_of(log_key: str) -> str:
    """The channel whose log key (or announcement) this is."""
    return log_key.removeprefix(_LOG)


def tail(channel: str) -> str:
    """String: id of the channel's last event; outlives the events, so that their loss is noticed."""
    return f"{_PREFIX}tail:{channel}"


def dedupe(channel: str, key: str) -> str:
    """String: id of the event published with this idempotency key."""
    return f"{_PREFIX}key:{channel}:{key}"


def position(user: str) -> str:
    """String: id up to which the user has had everything."""
    return f"{_PREFIX}had:{user}"


def ticket(digest: str) -> str:
    """String: the claims a ticket stands for, by the SHA-256 of the ticket."""
    return f"{_PREFIX}ticket:{digest}"


def spent_ticket(digest: str) -> str:
    """String: the same, once the ticket was used."""
    return f"{_PREFIX}spent:{digest}"


def connections(user: str) -> str:
    """Hash: worker id -> how many connections of the user it holds."""
    return f"{_PREFIX}conns:{user}"


def worker(worker_id: str) -> str:
    """String with a short expiry: this worker lives."""
    return f"{_PREFIX}worker:{worker_id}"


def ear(worker_id: str) -> str:
    """Pub/sub channel on which a worker hears itself, and what other workers have to tell it."""
    return f"{_PREFIX}ear:{worker_id}"


def generation(generation_id: str) -> str:
    """Hash: what is known of a generation beside what it said."""
    return f"{_PREFIX}gen:{generation_id}"


def generations(user: str) -> str:
    """Sorted set: ids of the user's generations, by the ms in which they began."""
    return f"{_PREFIX}gens:{user}"


def running(user: str) -> str:
    """Set: ids of those of them that run."""
    return f"{_PREFIX}gens-running:{user}"


def generation_key(user: str, key: str) -> str:
    """String: id of the generation that the user began with this idempotency key."""
    return f"{_PREFIX}gen-key:{user}:{key}"


def generating(worker_id: str) -> str:
    """Set: ids of the generations that a worker runs."""
    return f"{_PREFIX}generating:{worker_id}"


GENERATING: Final = _PREFIX + "generating"  # set: ids of the workers that run any, or died while they did
