"""Checks at the start that Redis can do what the service needs. This takes a few round trips, and prints one line that
names what is missing."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import redis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    InvalidResponse,
    NoPermissionError,
    ResponseError,
)

from pushsvc.addresses import redis_address
from pushsvc.addresses.redis_address import CLUSTER_SCHEMES, SENTINEL_SCHEMES
from pushsvc.checks import kinds, rights
from pushsvc.checks.findings import SECTIONS, findings, parse
from pushsvc.checks.rehearsal import Refused, Unheard, exchange, rehearse
from pushsvc.config import PREFIX, Settings
from pushsvc.errors import ConfigError, Unavailable
from pushsvc.program.terminal import say
from pushsvc.storage.redis import fencing, refusals
from pushsvc.storage.redis.client import connect
from pushsvc.storage.redis.explaining import explained
from pushsvc.storage.redis.fencing import Fence
from pushsvc.storage.redis.keys import Keys
from pushsvc.storage.redis.refusals import first_word
from pushsvc.storage.redis.topology.connecting import check_files
from pushsvc.storage.redis.topology.layout import WrongPartitions
from pushsvc.storage.redis.topology.no_master import NoMaster

OLDEST_REDIS: Final = (7, 0)
PATIENCE_SECONDS: Final = 30.0  # for a Redis that loads its data, or runs another client's script
_PAUSE_SECONDS: Final = 0.2
AT_ONCE: Final = 8  # partitions checked at the same time
MOST_NAMED: Final = 3  # keys and channels that one line names
_URL: Final = f"{PREFIX}REDIS_URL"
_DOCS: Final = "docs/redis.md has the rights that are needed"


class _Passing(Exception):
    """Redis refuses everything for now, and may recover by itself."""


class _Lost(Exception):
    """Redis, or the cluster's node that has this partition, does not answer."""


def check_redis(url: str, settings: Settings, stopped: Callable[[], object] = lambda: False) -> list[str]:
    """Run each operation of the service once. Raises ConfigError if one fails; returns warnings for operators if all
    work. `stopped`: whether there is a reason to give up waiting."""
    check_files(redis_address.parse(url), settings.redis_password_file)
    until = time.monotonic() + PATIENCE_SECONDS
    told = ""
    while True:
        try:
            return _check_all(url, settings)
        except _Passing as error:
            if time.monotonic() > until or stopped():
                raise ConfigError(f"{_URL}: {error}") from error
            if str(error) != told:
                told = str(error)
                say(f"{told}; waiting for it")
            time.sleep(_PAUSE_SECONDS)
        except _Lost as error:
            raise ConfigError(f"{_URL}: {error}") from error


def _check_all(url: str, settings: Settings) -> list[str]:
    if not url.startswith(CLUSTER_SCHEMES):
        return _check(url, Keys(0, 1, settings.redis_prefix), settings)
    warnings, lost = dict[str, None](), dict[int, _Lost]()

    def check(keys: Keys) -> list[str] | _Lost:
        try:
            return _check(url, keys, settings)
        except _Lost as error:
            return error

    with ThreadPoolExecutor(AT_ONCE) as threads:  # each partition costs a few dozen round trips
        every = Keys(0, settings.partitions, settings.redis_prefix).all()
        for number, found in enumerate(threads.map(check, every)):
            if isinstance(found, _Lost):
                lost[number] = found
            else:
                warnings.update(dict.fromkeys(found))
    if len(lost) == settings.partitions:
        raise next(iter(lost.values()))
    if lost:
        numbers = ", ".join(map(str, lost))
        warnings[f"the cluster has lost the partitions {numbers}; those who live there are not served: "
                 f"{next(iter(lost.values()))}"] = None  # fmt: skip
    return list(warnings)


def _check(url: str, keys: Keys, settings: Settings) -> list[str]:
    """Check one partition."""
    with _translated(url, keys, settings), _unlogged():
        warnings = _facts(url, keys, settings)
        fence = Fence(keys)
        try:
            with connect(url, fence.handshake, keys, settings.redis_password_file) as client:
                rehearse(client, keys, fence, settings)
        except Refused as error:
            word = rights.takes_no_writes(error.error)
            if word is None:
                raise
            warnings.append(f"Redis takes no writes now ({word}): publishes are refused, and not all could be tried.")
    return warnings


def _facts(url: str, keys: Keys, settings: Settings) -> list[str]:
    """Check Redis's INFO and the account's rights, on one connection and in two round trips."""
    with connect(url, None, keys, settings.redis_password_file) as client:
        connection = client.connection_pool.connection_class(**client.connection_pool.connection_kwargs)
        try:
            _connect(connection)
            info = _info(connection)
            _look(url, info)
            trial = rights.trial(keys, bool(settings.wait_replicas))
            answers = exchange(connection, trial)
        finally:
            connection.disconnect()
    _raise_passing(answers)
    refused = rights.refused(trial, answers)
    if refused:
        # Each node of a cluster has its own accounts: the cluster does not copy them.
        where = f" at {connection.host}:{connection.port}" if keys.partitions > 1 else ""
        raise ConfigError(f"{_URL}: {_refusal(refused, keys, where)}")
    found = findings(info, settings)
    for each in found:
        if each.evicts:
            raise ConfigError(f"{_URL}: {each.text}")
    return [each.text for each in found]


def _info(connection: Any) -> dict[str, str]:
    """Ask for INFO. Raises Refused."""
    # Ask for each section alone, as some services allow only one. The sections that other modules need are required.
    answers = exchange(connection, [("INFO", section) for section in SECTIONS])
    for section, answer in zip(SECTIONS, answers, strict=True):
        if isinstance(answer, Exception) and section in ("server", "replication"):
            raise Refused("INFO", answer)
    return parse(b"\n".join(answer for answer in answers if isinstance(answer, bytes)))


def _connect(connection: Any) -> None:
    try:
        connection.connect()
    except ResponseError as error:
        if "select" not in str(error).lower() or not connection.db:
            raise
        connection.db = 0  # sentinels and cluster nodes have no other; the check must be able to name them
        connection.connect()


def _look(url: str, info: Mapping[str, str]) -> None:
    """Check that Redis is a master, new enough, and of the kind that the URL names. Raises ConfigError."""
    mode = kinds.modes(info)
    if "sentinel" in mode:
        raise ConfigError(f"{_URL}: {kinds.sentinel(url)}")
    version = info.get("redis_version", "of no version")
    if tuple(int(number) for number in re.findall(r"\d+", version)[:2]) < OLDEST_REDIS:
        raise ConfigError(f"{_URL}: Redis {version} is too old; 7.0 or later is needed")
    if "cluster" in mode and not url.startswith(CLUSTER_SCHEMES):
        raise ConfigError(f"{_URL}: a node of a cluster answers there; use {kinds.scheme(url, '+cluster')}")
    if info.get("role") == "slave":
        if url.startswith((*SENTINEL_SCHEMES, *CLUSTER_SCHEMES)):
            raise _Passing("Redis is about to have another master")
        what = "a read-only replica" if info.get("slave_read_only", "1") == "1" else "a replica, though a writable one,"
        raise ConfigError(f"{_URL}: Redis is {what} there; its master is needed")
    if not info.get("run_id"):
        raise ConfigError(f"{_URL}: INFO says no run_id there, by which lost events are noticed")


def _raise_passing(answers: list[Any]) -> None:
    for answer in answers:
        if isinstance(answer, Exception):
            _passing(answer)


def _passing(error: Exception) -> None:
    if isinstance(error, BusyLoadingError):
        raise _Passing("Redis is loading its data") from error
    if isinstance(error, ClusterDownError) and not rights.takes_no_writes(error):
        raise _Lost(f"Redis does not answer: {error}") from error
    if first_word(error) == "BUSY":
        raise _Passing("Redis is busy with somebody's script") from error


def _refusal(refused: list[rights.Refusal], keys: Keys, where: str) -> str:
    kind, words = refused[0].kind, refused[0].words
    names = list(dict.fromkeys(each.what for each in refused if each.kind == kind))
    if kind == "command":
        return f"Redis{where} refuses {', '.join(names)} ({words}); {_DOCS}"
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    named = ", ".join(names[:MOST_NAMED]) + more
    return f"the account may not use the {kind} {named}{where} ({words}); {_names(keys)}; {_DOCS}"


def _names(keys: Keys) -> str:
    if keys.partitions > 1:
        return f"the names of all keys and channels begin with {keys.prefix}{{"
    return f"the names of all keys and channels begin with {keys.prefix}{{{keys.tag}}}:"


def _refused_account(error: Exception, url: str, keys: Keys, settings: Settings) -> str:
    """The reason why Redis takes no command on this connection."""
    if "cluster support disabled" in str(error):
        return f"what answers there is no node of a cluster; use {kinds.scheme(url)}"
    if "unknown command 'cluster'" in str(error).lower() and kinds.finds_sentinel(url, settings):
        return kinds.sentinel(url)
    given = redis_address.parse(url)
    user_alone = bool(given.user and not given.password and not settings.redis_password_file)
    words = explained(error, tls=given.tls, user_alone=user_alone)
    if settings.redis_password_file and isinstance(error, AuthenticationError):
        words = f"{words.rstrip('.')}; the password is that of {PREFIX}REDIS_PASSWORD_FILE"
    named = f"; {_names(keys)}; {_DOCS}" if rights.is_of_a_name(error) else ""
    return f"Redis refuses the service: {words}{named}"


@contextmanager
def _translated(url: str, keys: Keys, settings: Settings) -> Iterator[None]:
    """Turn errors into texts for operators. Raises ConfigError, _Passing or _Lost."""
    try:
        yield
    except WrongPartitions as error:
        raise ConfigError(f"{PREFIX}PARTITIONS: {error}") from error
    except Refused as error:
        _passing(error.error)
        raise ConfigError(f"{_URL}: Redis refuses {error.command} ({rights.brief(error)}); {_DOCS}") from error
    except Unavailable as error:  # for example during a failover
        raise _Passing(error.detail) from error
    except Unheard as error:
        raise ConfigError(f"{_URL}: {error}") from error
    except NoMaster as error:
        raise _Lost(str(error)) from error
    except InvalidResponse as error:
        raise ConfigError(f"{_URL}: what answers there is not Redis: {error}") from error
    except (BusyLoadingError, ClusterDownError) as error:
        _passing(error)
        raise _Lost(f"Redis does not answer: {error}") from error
    except (AuthenticationError, NoPermissionError, ResponseError) as error:
        _passing(error)
        raise ConfigError(f"{_URL}: {_refused_account(error, url, keys, settings)}") from error
    except (redis.RedisError, OSError) as error:
        raise _Lost(f"Redis does not answer: {explained(error, tls=redis_address.parse(url).tls)}") from error


@contextmanager
def _unlogged() -> Iterator[None]:
    """Suppress log lines of this thread, which reports the problem in one line itself."""
    this = threading.get_ident()

    def other(record: logging.LogRecord) -> bool:
        return record.thread != this

    loggers = (fencing.logger, refusals.logger)
    for logger in loggers:
        logger.addFilter(other)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(other)
