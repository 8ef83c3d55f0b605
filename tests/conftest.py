from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.stack import Stack

settings.register_profile("patient", deadline=None)  # a busy machine is no failure
settings.load_profile("patient")

Start = Callable[..., Stack]

_numbers = itertools.count()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for all tests that do not break it."""
    running = Stack(tmp_path_factory.mktemp("stack"), heartbeat_seconds=1, max_connections_per_user=5)
    yield running
    running.stop()
    assert "Traceback" not in running.output, running.output


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start stacks with other settings, or to be broken."""
    running: list[Stack] = []

    def starter(**settings: object) -> Stack:
        running.append(Stack(tmp_path / f"stack{len(running)}", **settings))
        return running[-1]

    yield starter
    for each in running:
        each.stop()


@pytest.fixture
def user() -> str:
    """A user nobody else in this run uses, so that tests share a stack and no state."""
    return f"user{next(_numbers)}"


@pytest.fixture(params=["nginx", "gunicorn"])
def base(request: pytest.FixtureRequest, stack: Stack) -> str:
    """The same behaviour with nginx in front and without."""
    return stack.url if request.param == "nginx" else stack.app_url
