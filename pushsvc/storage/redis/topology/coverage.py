"""Finds which partitions of a cluster are lost to all workers, and which only to this one. Sending traffic to
another worker helps only in the second case."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import gevent
import redis
from redis.exceptions import AuthenticationError, BusyLoadingError, ClusterDownError

from pushsvc.addresses.redis_address import Address
from pushsvc.storage.redis.keys import Keys, slot
from pushsvc.storage.redis.topology.nodes import Node, Nodes, View

MOST_RANGES: Final = 3  # ranges that a message names


class Trouble(NamedTuple):
    """The reason why a partition cannot be served, as a sentence `about` a node. `lost`: as far as
    known, no worker can serve it."""

    about: str
    text: str
    lost: bool = True


_NOBODY: Final = Trouble("", "None of the cluster's nodes answers.")


class Coverage:
    """Asks the nodes when they last heard from the nodes that this worker cannot reach, and remembers that."""

    def __init__(self, nodes: Nodes, of: Keys) -> None:
        """`of`: any partition of the data."""
        self._nodes = nodes
        self._keys: Sequence[Keys] = list(of.all())
        self._heard: dict[tuple[Address, bytes], int] = {}

    def look(self, partitions: Iterable[int]) -> dict[int, Trouble]:
        """The troubles of these partitions, by number; none for a partition whose node answers. Each node is asked
        once."""
        views = self._nodes.views()
        heard, self._heard = self._heard, {}
        found: dict[int, Trouble | None] = {}
        asked: dict[Node, gevent.Greenlet] = {}  # at the same time: a node that is down costs a timeout
        owners: dict[int, Node] = {}
        for number in partitions:
            keys = self._keys[number]
            view, node = _owner(views, slot(keys.tag))
            if view is None or node is None:
                found[number] = self._ownerless(slot(keys.tag)) if views else _NOBODY
                continue
            owners[number] = node
            if node not in asked:
                asked[node] = gevent.spawn(self._trouble, node, view, views, keys, heard)
        gevent.joinall(list(asked.values()), raise_error=True)
        found |= {number: asked[node].value for number, node in owners.items()}
        return {number: trouble for number, trouble in found.items() if trouble is not None}

    def _trouble(
        self, node: Node, view: View, views: Sequence[View], keys: Keys, heard: dict[tuple[Address, bytes], int]
    ) -> Trouble | None:
        peers = {each.by: each.peers[node.id] for each in views if node.id in each.peers}
        if any(peer.gone for peer in peers.values()):
            return self._lost(node, view, "is down")
        try:
            self._nodes.ask(node.address, ("GET", keys.own_count))
        except BusyLoadingError:
            return self._lost(node, view, "is loading its data")
        except ClusterDownError:
            return self._lost(node, view, "says that the cluster is down")
        except (redis.RedisError, OSError) as error:
            full = "max number of clients" in str(error)
            if isinstance(error, (redis.ResponseError, AuthenticationError)) and not full:
                return None
            for by, peer in peers.items():
                self._heard[by, node.id] = heard.get((by, node.id), peer.heard)
            alive = any(peer.heard > self._heard[by, node.id] for by, peer in peers.items())
            if alive or full:
                why = "takes no more connections (maxclients)" if full else "answers others, and not this worker"
                return Trouble(_named(node), f"The cluster's node {_named(node)} {why}.", lost=False)
            return self._lost(node, view, "is down")
        return None

    def _ownerless(self, place: int) -> Trouble:
        text = f"1 of {len(self._keys)} partitions is lost: no node of the cluster has slot {place}."
        return Trouble(f"slot {place}", text)

    def _lost(self, node: Node, view: View, why: str) -> Trouble:
        ranges = [(first, last) for first, last, owner in view.ranges if owner == node]
        count = sum(first <= slot(each.tag) <= last for each in self._keys for first, last in ranges)
        slots = ", ".join(f"{first}-{last}" for first, last in ranges[:MOST_RANGES])
        slots += f" and {len(ranges) - MOST_RANGES} more ranges" if len(ranges) > MOST_RANGES else ""
        are = "is" if count == 1 else "are"
        name = _named(node)
        text = f"{count} of {len(self._keys)} partitions {are} lost: the cluster's node {name} (slots {slots}) {why}."
        return Trouble(name, text)


def _owner(views: Sequence[View], place: int) -> tuple[View | None, Node | None]:
    """The node that has the slot, and the view that names it: preferably another node's, as the owner itself may have
    been suspended."""
    found = [(view, node) for view in views if (node := view.owner(place)) is not None]
    return next((each for each in found if each[0].by != each[1].address), found[0] if found else (None, None))


def _named(node: Node) -> str:
    host, port = node.address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
