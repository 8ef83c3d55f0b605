"""Refusals that show that a Redis is not, or for now not, the master of the requested data."""

from __future__ import annotations

from typing import Final

from redis.exceptions import AskError, ClusterDownError, MovedError, ReadOnlyError, TryAgainError

# Another node has the data, receives it just now, or none has it. MASTERDOWN is a ClusterDownError, too.
ELSEWHERE: Final = (AskError, MovedError, TryAgainError, ClusterDownError)
_DEMOTED: Final = (ReadOnlyError, MovedError, ClusterDownError)
_DEMOTED_WORDS: Final = ("READONLY", "MOVED", "CLUSTERDOWN", "MASTERDOWN")  # the same, as hiredis reports them


def is_demoted(error: object) -> bool:
    """Whether this refusal means that the Redis is not the data's master (any more): a retry needs another
    connection."""
    return (isinstance(error, _DEMOTED) or str(error).startswith(_DEMOTED_WORDS)) and not takes_reads(error)


def takes_reads(error: object) -> bool:
    """Whether the node serves reads of the data, but takes no writes while its cluster lacks a part."""
    text = str(error)
    if isinstance(error, ClusterDownError):
        return "only accepts read" in text
    return "the cluster is down and readonly" in text  # the same, for a command in a script
