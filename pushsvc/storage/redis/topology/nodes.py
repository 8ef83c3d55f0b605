"""Nodes of a cluster, and what each reports about the slots' owners and failed nodes."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import gevent
import redis
from redis.connection import Connection

from pushsvc.addresses.redis_address import Address

MOST_VIEWS: Final = 8  # most nodes to ask when something is wrong; more would report the same

Connect = Callable[[Address], Connection]


class Node(NamedTuple):
    """`id`: the cluster's own name for it."""

    id: bytes
    address: Address


class Peer(NamedTuple):
    """The state of a node as another one sees it: whether it has failed, and when it answered last (ms, by the other's
    clock)."""

    gone: bool
    heard: int


class View(NamedTuple):
    """One node's view of the cluster: the owner of each range of slots, and the state of its peers."""

    by: Address
    ranges: list[tuple[int, int, Node]]
    peers: Mapping[bytes, Peer]

    def owner(self, slot: int) -> Node | None:
        """The owner of the slot, None if there is none."""
        return next((node for first, last, node in self.ranges if first <= slot <= last), None)


class Nodes:
    """The nodes of the URL, and all nodes that these reported."""

    def __init__(self, seeds: list[Address], connect: Connect) -> None:
        self._known = seeds
        self._seeds = seeds
        self._connect = connect

    def owner(self, slot: int) -> Address:
        """The node that has the slot, asked anew each time: a caller has lost a connection, or was redirected. Raises
        RedisError, or OSError."""
        failure: Exception = redis.ConnectionError(f"no node of the cluster has slot {slot}")
        claimed: Address | None = None
        for address in self._shuffled():
            try:
                [ranges] = self.ask(address, ("CLUSTER", "SLOTS"))
            except (redis.RedisError, OSError) as error:
                failure = error
                continue
            owner = View(address, self._learn(ranges, address), {}).owner(slot)
            if owner is not None and owner.address != address:
                return owner.address
            # The node names itself: it may have been suspended, and not know the new owner yet.
            claimed = claimed if owner is None else owner.address
        if claimed is None:
            raise failure
        return claimed

    def views(self) -> list[View]:
        """The views of some of the nodes, asked at the same time; nodes that do not answer are left out."""
        asked = [gevent.spawn(self._view, address) for address in self._shuffled()[:MOST_VIEWS]]
        gevent.joinall(asked)
        return [each.value for each in asked if each.value is not None]

    def _view(self, address: Address) -> View | None:
        try:
            ranges, peers = self.ask(address, ("CLUSTER", "SLOTS"), ("CLUSTER", "NODES"), refusable=1)
        except (redis.RedisError, OSError):
            return None
        return View(address, self._learn(ranges, address), _peers(peers))

    def ask(self, address: Address, *commands: tuple[Any, ...], refusable: int = 0) -> list[Any]:
        """The answers of one node, on a connection that is made for it; an empty one to each of the last `refusable`
        commands, if those are refused. Raises RedisError, or OSError."""
        connection = self._connect(address)
        try:
            connection.connect()
            answers = []
            for left, command in zip(range(len(commands), 0, -1), commands, strict=True):
                connection.send_command(*command)
                try:
                    answers.append(connection.read_response())
                except redis.ResponseError:
                    if left > refusable:
                        raise
                    answers.append(b"")
            return answers
        finally:
            connection.disconnect()

    def _shuffled(self) -> list[Address]:
        """The addresses in random order: one node may be cut off from the others, or overloaded."""
        return random.sample(self._known, len(self._known))

    def _learn(self, slots: list[Any], asked: Address) -> list[tuple[int, int, Node]]:
        heard = [_address(node, asked) for _, _, *nodes in slots for node in nodes]
        self._known = list(dict.fromkeys([*self._seeds, *heard]))
        return [(first, last, Node(owner[2], _address(owner, asked))) for first, last, owner, *_ in slots]


def _address(node: list[Any], asked: Address) -> Address:
    """The address of a node in an answer. An empty host means the node that was asked."""
    return node[0].decode() if node[0] else asked[0], int(node[1])


def _peers(nodes: bytes) -> dict[bytes, Peer]:
    """Parse the lines `id address flags master ping-sent pong-received epoch link-state slots…` into peers by id.
    The link to a killed node is gone at once, long before the node counts as failed."""
    found = {}
    for line in nodes.splitlines():
        words = line.split()
        if len(words) >= 8 and b"myself" not in words[2]:
            gone = bool({b"fail", b"fail?"} & set(words[2].split(b","))) or words[7] == b"disconnected"
            found[words[0]] = Peer(gone, int(words[5]))
    return found
