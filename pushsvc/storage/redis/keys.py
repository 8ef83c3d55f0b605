"""Names of all Redis keys, in one place, and the partition of a cluster that holds each name's data.

The hash tag in braces keeps a partition's keys together: they live on one node. A single server has one partition, with
the tag `{0}`. The prefix separates services on the same servers, and does not
change the slot. A channel's log key is also the pub/sub channel that announces it. Names are short where
there is one per user.
"""

from __future__ import annotations

import binascii
import itertools
from collections.abc import Callable, Iterator
from typing import Final

from pushsvc.config import DEFAULT_PREFIX
from pushsvc.events.proof import without_proof

SLOTS: Final = 16384  # slots of a cluster; each node owns some
COUNTED: Final = "0"  # hash tag of the one key that belongs to the whole data and not to a partition


def slot(tag: str) -> int:
    """The slot of keys with this hash tag (Redis cluster specification: CRC16 of the tag)."""
    return _crc16(tag) % SLOTS


def place(name: str, partitions: int) -> int:
    """The partition of a user and of all the user's data."""
    return _crc16(name) % partitions


def _crc16(text: str) -> int:
    return binascii.crc_hqx(text.encode("utf-8", "surrogateescape"), 0)


def _tag(number: int, partitions: int) -> str:
    """The hash tag of a partition: the first number whose slot is in the partition's share. So the partitions
    are spread evenly over the slots, of which nodes own ranges."""
    return next(tag for tag in map(str, itertools.count()) if slot(tag) * partitions // SLOTS == number)


class Keys:
    """The names of one partition's keys."""

    def __init__(self, number: int = 0, partitions: int = 1, prefix: str = DEFAULT_PREFIX) -> None:
        self._number = number
        self.prefix = prefix
        self.partitions = partitions
        self.tag = _tag(number, partitions)
        self._prefix = f"{prefix}{{{self.tag}}}:"
        self.count = f"{prefix}{{{COUNTED}}}:partitions"  # string: how many partitions the data of a cluster has
        self.own_count = f"{self._prefix}partitions"  # string: the same, where the node with that key is down
        self._log = f"{self._prefix}log:"
        self.clock = f"{self._prefix}clock"  # stream of one entry; its last id is the last id drawn
        self.epoch = f"{self._prefix}epoch"  # string; the clock's first id, and the later epochs: see epochs.py
        self.loss = f"{self._prefix}loss"  # string; first id after the last known loss, as long as it matters
        self.server = f"{self._prefix}server"  # string; the process of Redis that had the data last
        self.workers = f"{self._prefix}workers"  # sorted set: ids of workers, by the ms of their last sign of life
        self.revocations = f"{self._prefix}revocations"  # sorted set: tokens that are void, by the ms; see revoking.py
        self.who = f"{self._prefix}who"  # hash: user or topic -> workers with it; see lua/attendance/turnout.lua
        self.away = f"{self._prefix}away"  # sorted set: users and topics, by the ms at which to tell that they went
        self.attending = f"{self._prefix}attending"  # set: ids of workers with a key `here`
        self.hooks = f"{self._prefix}hooks"  # sorted set: hooks yet to be taken, in their order
        self.hook_ids = f"{self._prefix}hook-ids"  # stream of one entry, whose last id is that of the newest hook
        self.hook_sender = f"{self._prefix}hook-sender"  # string that expires: id of the worker that sends hooks
        self.producers = f"{self._prefix}generating"  # set: ids of workers that run generations, or died while they did

    def all(self) -> Iterator[Keys]:
        """The Keys of every partition of this data."""
        return (Keys(number, self.partitions, self.prefix) for number in range(self.partitions))

    def hold(self, name: str) -> bool:
        """Whether this partition holds the name's data."""
        return place(name, self.partitions) == self._number

    def own(self, text: str) -> str:
        """The part of a client's id that belongs to this partition. An event on a shared channel has one id per
        partition, joined by dots. A proof is no part of it."""
        text = without_proof(text)
        ids = text.split(".")
        return ids[self._number] if len(ids) == self.partitions else text

    def draw(self, make: Callable[[], str]) -> str:
        """Make names until one belongs to this partition, so that the name alone leads to the partition."""
        return next(name for name in iter(make, "") if self.hold(name))

    def log(self, channel: str) -> str:
        """Stream: the kept events of a channel."""
        return self._log + channel

    def channel_of(self, log_key: str) -> str:
        """The channel whose log key (or announcement) this is."""
        return log_key.removeprefix(self._log)

    def tail(self, channel: str) -> str:
        """String: id of the channel's last event; outlives the events, so that their loss is noticed."""
        return f"{self._prefix}tail:{channel}"

    def dedupe(self, channel: str, key: str) -> str:
        """String: id of the event published with this idempotency key."""
        return f"{self._prefix}key:{_pair(channel, key, name=channel.partition(':')[2])}"

    def position(self, user: str) -> str:
        """String: id up to which the user has received everything."""
        return f"{self._prefix}had:{user}"

    def ticket(self, digest: str) -> str:
        """String: the claims a ticket stands for, by the SHA-256 of the ticket."""
        return f"{self._prefix}ticket:{digest}"

    def unspent(self, user: str) -> str:
        """Sorted set: digests of the user's tickets that nobody has used, by the ms at which they expire."""
        return f"{self._prefix}unspent:{user}"

    def spent_ticket(self, digest: str) -> str:
        """String: the same, once the ticket was used."""
        return f"{self._prefix}spent:{digest}"

    def ticket_use(self, digest: str) -> str:
        """Hash that lasts for a moment after a ticket's first use: its stream, and the cursor at which that began."""
        return f"{self._prefix}ticket-use:{digest}"

    def ticket_proof(self, digest: str) -> str:
        """String: SHA-256 of the proof that the stream of this ticket carries in its ids."""
        return f"{self._prefix}ticket-proof:{digest}"

    def proof(self, digest: str) -> str:
        """String: the user whose ticket's proof this is, by the SHA-256 of both."""
        return f"{self._prefix}proof:{digest}"

    def rate(self, setting: str, subject: str) -> str:
        """Hash: how much a user or a token has taken of a rate, by the rate's window in ms."""
        return f"{self._prefix}{setting}:{subject}"

    def revoked(self, user: str) -> str:
        """Key of the time up to which a user's tickets, and what came of them, are void: a string, ms since 1970."""
        return f"{self._prefix}revoked:{user}"

    def connections(self, user: str) -> str:
        """Hash: worker id -> how many connections of the user it holds."""
        return f"{self._prefix}conns:{user}"

    def streams(self, user: str) -> str:
        """Hash: worker id -> begin times of the user's streams there that give way to new ones."""
        return f"{self._prefix}since:{user}"

    def giving_way(self, worker_id: str) -> str:
        """List: streams that a worker has to end."""
        return f"{self._prefix}ends:{worker_id}"

    def worker(self, worker_id: str) -> str:
        """String with a short expiry: the worker's lease."""
        return f"{self._prefix}worker:{worker_id}"

    def here(self, worker_id: str) -> str:
        """Sorted set: the users and topics that a worker has connections of."""
        return f"{self._prefix}here:{worker_id}"

    def control(self, worker_id: str) -> str:
        """Pub/sub channel on which a worker receives its own canary, and the messages of other workers."""
        return f"{self._prefix}ear:{worker_id}"

    def generation(self, generation_id: str) -> str:
        """Hash: all data of a generation except its frames."""
        return f"{self._prefix}gen:{generation_id}"

    def generations(self, user: str) -> str:
        """Sorted set: ids of the user's generations, by the ms in which they began."""
        return f"{self._prefix}gens:{user}"

    def running(self, user: str) -> str:
        """Set: ids of the user's generations that run."""
        return f"{self._prefix}gens-running:{user}"

    def generation_key(self, user: str, key: str) -> str:
        """String: id of the generation that the user began with this idempotency key."""
        return f"{self._prefix}gen-key:{_pair(user, key, name=user)}"

    def generating(self, worker_id: str) -> str:
        """Set: ids of the generations that a worker runs."""
        return f"{self._prefix}generating:{worker_id}"


def _pair(owner: str, key: str, *, name: str) -> str:
    """An owner and their idempotency key as one word that no other pair has. Both may hold colons. If the owner's name
    does, a colon and the name's length go in front, so the end of the name is clear."""
    return f":{len(owner)}:{owner}:{key}" if ":" in name else f"{owner}:{key}"


ALONE: Final = Keys()  # of a single server, or a master behind sentinels
