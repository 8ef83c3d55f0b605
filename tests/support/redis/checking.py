"""Looks at a Redis as the start does, for tests of what that finds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from pushsvc.checks.start import check_redis
from pushsvc.config import Settings
from pushsvc.errors import ConfigError

LONGEST = 400  # characters of a line that somebody reads


def port_of(server: redis.Redis) -> int:
    return int(server.connection_pool.connection_kwargs["port"])


def check(url: str, **settings: object) -> list[str]:
    return check_redis(url, Settings.model_validate({"redis_url": url, "workers": 1} | settings))


def refused(url: str, **settings: object) -> str:
    with pytest.raises(ConfigError) as caught:
        check(url, **settings)
    line = caught.value.detail
    assert line.startswith("PUSHSVC_")
    assert len(line.splitlines()) == 1
    assert len(line) < LONGEST
    return line


@contextmanager
def account(server: redis.Redis, *rules: str) -> Iterator[str]:
    """The URL of an account with these rights, which is removed at the end."""
    server.execute_command("ACL", "SETUSER", "someone", "reset", "on", ">hunter2", *rules)
    try:
        yield f"redis://someone:hunter2@127.0.0.1:{port_of(server)}"
    finally:
        server.execute_command("ACL", "DELUSER", "someone")


@contextmanager
def configured(server: redis.Redis, **options: str | int) -> Iterator[str]:
    before = {name: str(server.config_get(name)[name]) for name in options}
    for name, value in options.items():
        server.config_set(name, value)
    try:
        yield f"redis://127.0.0.1:{port_of(server)}"
    finally:
        for name, value in before.items():
            server.config_set(name, value)
