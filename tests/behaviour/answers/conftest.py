"""Fixtures of several files here."""

from __future__ import annotations

import openai
import pytest

from tests.support.models.completions import sdk
from tests.support.models.model import Model
from tests.support.stack import Stack


@pytest.fixture(autouse=True)
def _as_if_nobody_had_asked(model: Model) -> None:
    """Reset the model for every test, also for those that leave it as it is."""


@pytest.fixture
def client(answering: Stack, user: str) -> openai.OpenAI:
    return sdk(answering, user)
