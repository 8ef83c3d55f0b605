"""Fixtures of several files here."""

from __future__ import annotations

import openai
import pytest

from tests.support.models.model import Model
from tests.support.stack import Stack


@pytest.fixture(autouse=True)
def _as_if_nobody_had_asked(model: Model) -> None:
    """Reset the model for every test, also for those that leave it as it is."""


def strict(stack: Stack, user: str) -> openai.OpenAI:
    """OpenAI's client, which refuses what is not just as its types say."""
    options = {"max_retries": 0, "_strict_response_validation": True}
    return openai.OpenAI(base_url=f"{stack.url}/v1", api_key=stack.token(user), **options)  # type: ignore[arg-type]


@pytest.fixture
def client(answering: Stack, user: str) -> openai.OpenAI:
    return strict(answering, user)


@pytest.fixture
def mocked(stack: Stack, user: str) -> openai.OpenAI:
    return strict(stack, user)
