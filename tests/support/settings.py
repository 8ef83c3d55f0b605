"""Settings, good and bad."""

from __future__ import annotations

import pytest

from pushsvc.config import Settings
from pushsvc.errors import ConfigError

GOOD_SECRET = "0123456789abcdef0123456789abcdef"  # 32 bytes, the least that is taken


def settings(**given: str) -> Settings:
    return Settings.from_env({f"PUSHSVC_{name}": value for name, value in given.items()})


def refusal(**given: str) -> str:
    with pytest.raises(ConfigError) as caught:
        settings(**given)
    assert len(caught.value.detail.splitlines()) == 1
    return caught.value.detail
