"""Behaviour that is tested on several stacks, by a mark.

`every_redis`: it is the same whatever Redis there is. `every_script`: tests that together run every script. A module
with a `stack` fixture of its own runs the tests with a mark: `globals().update(marked("every_redis"))`.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

import pytest

from tests.support.models.model import Model
from tests.support.stack import ROOT, Stack

_FIXTURES: Final = ("answering", "capped", "base", "server", "door")


def marked(mark: str) -> dict[str, Any]:
    """The marked tests of all files, by name, and the fixtures by which they reach the `stack` of a module."""
    found: dict[str, Any] = {name: globals()[name] for name in _FIXTURES}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if f"@pytest.mark.{mark}\n" in path.read_text():
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            tests = {key: test for key, test in vars(importlib.import_module(name)).items() if _is_of(name, test, mark)}
            assert not found.keys() & tests.keys(), f"two files have such a test: {found.keys() & tests.keys()}"
            found |= tests
    return found


def _is_of(module: str, test: Any, mark: str) -> bool:
    """Whether it is a marked test, and not one that the module has from another module."""
    marks = [each.name for each in getattr(test, "pytestmark", ()) if isinstance(each, pytest.Mark)]
    return mark in marks and test.__module__ == module


def settings(model: Model) -> dict[str, object]:
    """The settings that the marked tests need."""
    return {
        "heartbeat_seconds": 0.5, "max_connections_per_user": 5,
        "llm_base_url": model.url, "llm_api_key": "a-test-key", "llm_model": "the-default",
    }  # fmt: skip


@pytest.fixture
def answering(stack: Stack) -> Stack:
    return stack


@pytest.fixture
def capped(stack: Stack) -> Stack:
    return stack


@pytest.fixture
def base(stack: Stack) -> str:
    return stack.url


@pytest.fixture
def server(stack: Stack) -> str:
    return stack.app_url


@pytest.fixture
def door(stack: Stack) -> str:
    return stack.url
