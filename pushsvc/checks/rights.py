"""Rights that the account needs: each command that the service uses, in scripts and by itself, and each kind of key
and channel. All are tried on names of the service's own, in one round trip."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from pushsvc.events.event import answer_channel, answers_channel
from pushsvc.storage import (
    tickets,  # noqa: F401  # each brings its scripts
)
from pushsvc.storage.redis.demoted import takes_reads
from pushsvc.storage.redis.keys import Keys
from pushsvc.storage.redis.refusals import first_word
from pushsvc.storage.redis.scripts import Command, Script

_CALLED: Final = re.compile(rb"(?:redis\.p?call|\btry)\('([A-Z]+)'")
_RIGHTS: Final = Script("rights")
NOBODY: Final = "no one"  # a user, a worker, a ticket that cannot be: none has a blank
_KINDS: Final = ("string", "hash", "set", "sorted-set", "stream", "list")
# What Redis says of its own state, or of what there is, once it has found that the account may ask.
UNWRITABLE: Final = ("OOM", "MISCONF", "NOREPLICAS", "READONLY")
_ALLOWED: Final = (*UNWRITABLE, "WRONGTYPE", "NOSCRIPT")
_SUBJECT: Final = re.compile(r"\b(?:access|publish to)\b.*?\b(key|channel)s?\b")


class Refusal(NamedTuple):
    """A command, key or channel that Redis refuses, and its words."""

    what: str
    words: str
    kind: str = "command"


IN_SCRIPTS: Final = " in scripts"
LONGEST: Final = 200  # characters of what Redis says


def in_scripts() -> list[str]:
    """The commands that the scripts use."""
    return sorted({name.decode() for script in Script.all for name in _CALLED.findall(script.source)})


def by_themselves(keys: Keys, wait: bool) -> list[Command]:
    """The commands that the service sends outside scripts, as it sends them. `wait`: it waits for replicas."""
    text, hashed, members, ranked, stream, listed = _own(keys)
    channel = keys.control(NOBODY)
    commands: list[Command] = [
        ("EXISTS", text), ("GET", text), ("MGET", text), ("GETRANGE", text, 0, -1),
        ("SET", text, "", "EX", 60), ("EXPIRE", text, 60, "GT"),
        ("HGET", hashed, "field"), ("HGETALL", hashed), ("HMGET", hashed, "field"), ("HSTRLEN", hashed, "field"),
        ("HSET", hashed, "field", ""), ("EXPIRE", hashed, 60), ("HDEL", hashed, "field"),
        ("SMEMBERS", members), ("SREM", members, ""),
        ("ZREM", ranked, ""), ("ZREVRANGE", ranked, 0, 0), ("ZREVRANK", ranked, ""),
        ("LPOP", listed, 1), ("XRANGE", stream, "-", "+", "COUNT", 1), ("XREVRANGE", stream, "+", "-", "COUNT", 1),
        ("DEL", text, hashed), ("UNLINK", text), ("SPUBLISH", channel, ""),
    ]  # fmt: skip
    return [*commands, ("WAIT", 0, 1)] if wait else commands


def _own(keys: Keys) -> list[str]:
    """A name for each kind of key. All who check at the same time have the same, and leave nothing there."""
    return [keys.worker(f"{NOBODY}:{kind}") for kind in _KINDS]


def names(keys: Keys) -> list[str]:
    """A name of each kind of key there is."""
    user, channels = NOBODY, (f"user:{NOBODY}", answers_channel(NOBODY), answer_channel(NOBODY))
    each = [keys.clock, keys.epoch, keys.server, keys.producers, keys.own_count]
    each += [keys.position(user), keys.ticket(user)]
    each += [keys.spent_ticket(user), keys.ticket_use(user), keys.ticket_proof(user), keys.proof(user)]
    each += [keys.connections(user), keys.streams(user), keys.giving_way(user), keys.worker(user)]
    each += [keys.generation(user), keys.generations(user), keys.running(user), keys.generation_key(user, "")]
    each += [keys.generating(user), *map(keys.log, channels), *map(keys.tail, channels)]
    return [*each, keys.dedupe(channels[0], "")]


def trial(keys: Keys, wait: bool) -> list[Command]:
    """The commands to run whose answers `refused` reads."""
    own, ours = [*_own(keys), keys.control(NOBODY)], names(keys)
    return [
        *(("GET", name) for name in ours),
        *(("SREM", name, "") for name in ours),  # changes nothing there, and shows the right to
        ("SPUBLISH", keys.log(f"user:{NOBODY}"), ""),
        *(("SCRIPT", "LOAD", script.source) for script in Script.all),
        ("EVAL", _RIGHTS.source, len(own), *own, *in_scripts()),
        ("EVALSHA", _RIGHTS.sha, len(own), *own, *in_scripts()),
        *by_themselves(keys, wait),
    ]


def refused(commands: Sequence[Command], answers: Sequence[Any]) -> list[Refusal]:
    """The refusals among the answers, keys and channels first: without these all else is refused, too."""
    found = list(dict.fromkeys(_refused(commands, answers)))
    alone = {each.what for each in found}
    within = [each for each in found if each.what.removesuffix(IN_SCRIPTS) not in alone - {each.what}]
    return sorted(within, key=lambda each: ("key", "channel", "command").index(each.kind))


def _refused(commands: Sequence[Command], answers: Sequence[Any]) -> Iterator[Refusal]:
    for command, answer in zip(commands, answers, strict=True):
        name = "SCRIPT LOAD" if command[0] == "SCRIPT" else str(command[0])
        if isinstance(answer, Exception):
            yield from _refusal(name, str(command[3 if name.startswith("EVAL") else 1]), answer)
        elif name.startswith("EVAL"):
            for within, words in answer:
                yield from _refusal(within.decode() + IN_SCRIPTS, "", words.decode())


def brief(error: object) -> str:
    """Redis's words, without what they repeat of the command, or explain at length."""
    return str(error).partition(", with args")[0][:LONGEST]


def takes_no_writes(error: object) -> str | None:
    """The first word of a refusal that tells of Redis's state, whoever asks. None: it is no such refusal."""
    if takes_reads(error):
        return "CLUSTERDOWN"
    return word if (word := first_word(error)) in UNWRITABLE else None


def is_of_a_name(error: object) -> bool:
    """Whether the account may not use the key or channel, rather than the command."""
    return bool(_SUBJECT.search(str(error)))


def _refusal(name: str, subject: str, error: object) -> Iterator[Refusal]:
    """Make a Refusal. `subject`: the key or channel, where it is the only one."""
    words = brief(error)
    match = _SUBJECT.search(words)
    if takes_no_writes(error) or first_word(error) in _ALLOWED or first_word(words) in _ALLOWED:
        return
    if match is None:
        yield Refusal(name, words)
    elif subject:
        yield Refusal(subject, words, match[1])
