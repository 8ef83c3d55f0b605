"""Rights that the account needs: each command that the service uses, in and outside scripts, and each kind of key and
channel. All are tried on keys of the service, in one round trip."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from pushsvc.events.names import answer_channel, answers_channel
from pushsvc.storage.redis.keys import Keys
from pushsvc.storage.redis.refusals import first_word
from pushsvc.storage.redis.scripts import Command, Script
from pushsvc.storage.redis.topology.demoted import takes_reads
from pushsvc.storage.tickets import tickets  # noqa: F401  # imported for its scripts

_CALLED: Final = re.compile(rb"(?:redis\.p?call|\btry)\('([A-Z]+)'")
_RIGHTS: Final = Script("rights")
NOBODY: Final = "no one"  # the name of a user, worker or ticket that cannot exist, as none holds a space
_KINDS: Final = ("string", "hash", "set", "sorted-set", "stream", "list")
# Errors about Redis's state or its data, which come only after Redis has checked the account's rights.
UNWRITABLE: Final = ("OOM", "MISCONF", "NOREPLICAS", "READONLY")
_ALLOWED: Final = (*UNWRITABLE, "WRONGTYPE", "NOSCRIPT")
_SUBJECT: Final = re.compile(r"\b(?:access|publish to)\b.*?\b(key|channel)s?\b")


class Refusal(NamedTuple):
    """A command, key or channel that Redis refuses, and its error text."""

    what: str
    words: str
    kind: str = "command"


IN_SCRIPTS: Final = " in scripts"
LONGEST: Final = 200  # characters of Redis's error text


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
        ("ZADD", ranked, "XX", 0, ""), ("ZREM", ranked, ""), ("ZCARD", ranked),
        ("ZREVRANGE", ranked, 0, 0), ("ZREVRANK", ranked, ""),
        ("LPOP", listed, 1), ("XRANGE", stream, "-", "+", "COUNT", 1), ("XREVRANGE", stream, "+", "-", "COUNT", 1),
        ("DEL", text, hashed), ("UNLINK", text), ("SPUBLISH", channel, ""),
    ]  # fmt: skip
    return [*commands, ("WAIT", 0, 1)] if wait else commands


def _own(keys: Keys) -> list[str]:
    """A name for each kind of key. All checks that run at the same time share these names, and store nothing there."""
    return [keys.worker(f"{NOBODY}:{kind}") for kind in _KINDS]


def names(keys: Keys) -> list[str]:
    """One name for each kind of key."""
    user, channels = NOBODY, (f"user:{NOBODY}", answers_channel(NOBODY), answer_channel(NOBODY))
    each = [keys.clock, keys.epoch, keys.server, keys.producers, keys.workers, keys.own_count]
    each += [
        keys.revocations,
        keys.who,
        keys.away,
        keys.attending,
        keys.hooks,
        keys.hook_ids,
        keys.hook_sender,
        keys.here(user),
    ]
    each += [keys.position(user), keys.ticket(user), keys.unspent(user), keys.rate("rate_connect", user)]
    each += [
        keys.spent_ticket(user),
        keys.ticket_use(user),
        keys.ticket_proof(user),
        keys.proof(user),
        keys.revoked(user),
    ]
    each += [keys.connections(user), keys.streams(user), keys.giving_way(user), keys.worker(user)]
    each += [keys.generation(user), keys.generations(user), keys.running(user), keys.generation_key(user, "")]
    each += [keys.generating(user), *map(keys.log, channels), *map(keys.tail, channels)]
    return [*each, keys.dedupe(channels[0], "")]


def trial(keys: Keys, wait: bool) -> list[Command]:
    """The commands to run whose answers `refused` reads."""
    own, ours = [*_own(keys), keys.control(NOBODY)], names(keys)
    return [
        *(("GET", name) for name in ours),
        *(("SREM", name, "") for name in ours),  # changes nothing, and tests the right
        ("SPUBLISH", keys.log(f"user:{NOBODY}"), ""),
        *(("SCRIPT", "LOAD", script.source) for script in Script.all),
        ("EVAL", _RIGHTS.source, len(own), *own, *in_scripts()),
        ("EVALSHA", _RIGHTS.sha, len(own), *own, *in_scripts()),
        *by_themselves(keys, wait),
    ]


def refused(commands: Sequence[Command], answers: Sequence[Any]) -> list[Refusal]:
    """The refusals among the answers, keys and channels first: without these rights everything else is refused, too."""
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
    """Redis's error text, without the parts that repeat the command or explain at length."""
    return str(error).partition(", with args")[0][:LONGEST]


def takes_no_writes(error: object) -> str | None:
    """The first word of a refusal that is due to Redis's state, not to the account. None: it is another refusal."""
    if takes_reads(error):
        return "CLUSTERDOWN"
    return word if (word := first_word(error)) in UNWRITABLE else None


def is_of_a_name(error: object) -> bool:
    """Whether the account lacks the right to a key or channel, rather than to a command."""
    return bool(_SUBJECT.search(str(error)))


def _refusal(name: str, subject: str, error: object) -> Iterator[Refusal]:
    """Make a Refusal. `subject`: the key or channel, if there is just one."""
    words = brief(error)
    match = _SUBJECT.search(words)
    if takes_no_writes(error) or first_word(error) in _ALLOWED or first_word(words) in _ALLOWED:
        return
    if match is None:
        yield Refusal(name, words)
    elif subject:
        yield Refusal(subject, words, match[1])
