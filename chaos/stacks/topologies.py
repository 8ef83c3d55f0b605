"""The kinds of Redis that a run can have, and what can break in each."""

from __future__ import annotations

from typing import Final, NamedTuple

from chaos.faults import FAULTS
from chaos.stacks.replicated import Pair, Watched
from chaos.stacks.stack import Stack

_OF_REPLICAS: Final = frozenset({"redis failed over", "master killed"})
_OF_A_PROXY: Final = frozenset({"network cut", "network slow", "network pulled"})
_OF_ONE_SERVER: Final = frozenset({"redis killed", "redis frozen", "stack restarted"})


class Topology(NamedTuple):
    """A kind of Redis. `loses`: replication is asynchronous, so acknowledged events may be gone if users are told."""

    stack: type[Stack]
    faults: list[str]
    loses: bool


def _all_but(*others: frozenset[str]) -> list[str]:
    return [fault for fault in FAULTS if fault not in frozenset().union(*others)]


TOPOLOGIES: Final = {
    "single": Topology(Stack, _all_but(_OF_REPLICAS), loses=False),
    "replica": Topology(Pair, _all_but(_OF_ONE_SERVER, frozenset({"master killed"})), loses=False),
    "sentinels": Topology(Watched, _all_but(_OF_ONE_SERVER, _OF_A_PROXY), loses=True),
}
