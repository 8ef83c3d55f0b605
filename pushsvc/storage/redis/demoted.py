"""Refusals by which a Redis shows that it is not, or for now not, the master of the data that it is asked for."""

from __future__ import annotations

from typing import Final

from redis.exceptions import AskError, ClusterDownError, MovedError, ReadOnlyError, TryAgainError

# The data is with another node, is on its way there, or is with none just now. MASTERDOWN is a ClusterDownError, too.
ELSEWHERE: Final = (AskError, MovedError, TryAgainError, ClusterDownError)
_DEMOTED: Final = (ReadOnlyError, MovedError, ClusterDownError)
_DEMOTED_WORDS: Final = ("READONLY", "MOVED", "CLUSTERDOWN", "MASTERDOWN")  # the same, as hiredis passes them on


def is_demoted(error: object) -> bool:
    """Whether the Redis that refused so is no master of this data (any more): the next try needs another connection."""
    return (isinstance(error, _DEMOTED) or str(error).startswith(_DEMOTED_WORDS)) and not takes_reads(error)


def takes_reads(error: object) -> bool:
    """Whether the node has the data and gives it out, but takes no writes while its cluster lacks a part."""
    text = str(error)
    if isinstance(error, ClusterDownError):
        return "only accepts read" in text
    return "the cluster is down and readonly" in text  # the same, of a command in a script
