"""Redis killed and started again, with the data that it had, or that of an older copy."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.support.clients.eventsource import until
from tests.support.processes import alive
from tests.support.stack import Stack


@contextmanager
def without_redis(stack: Stack) -> Iterator[Path]:
    """Redis's data directory, while the server is killed and not started again."""
    server = stack.pids()["valkey"][0]
    before = subscriptions(stack)  # gunicorn's own worker has none before its first request
    stack.process.send_signal(signal.SIGSTOP)
    try:
        os.kill(server, signal.SIGKILL)
        until(lambda: not alive(server), "the end of Redis")
        yield stack.data_dir / "valkey"
    finally:
        stack.process.send_signal(signal.SIGCONT)
    until(lambda: subscriptions(stack) >= before, "every worker to be back")
    stack.until_ready()


def subscriptions(stack: Stack) -> int:
    """The number of workers' subscriptions at the server that runs now."""
    try:
        return len(stack.redis.client_list(_type="pubsub"))
    except redis.RedisError:
        return 0


def restart(stack: Stack) -> None:
    with without_redis(stack):
        pass


def backup(stack: Stack, folder: Path) -> None:
    # While an fsync is under way (everysec), the server answers before it writes, for up to two seconds.
    until(lambda: stack.redis.info("persistence")["aof_buffer_length"] == 0, "the file to have what was answered")
    shutil.copytree(stack.data_dir / "valkey", folder)


def put_back(folder: Path, data: Path) -> None:
    shutil.rmtree(data)
    shutil.copytree(folder, data)
