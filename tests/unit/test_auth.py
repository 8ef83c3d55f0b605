"""Tokens are verified once; what is known of them afterwards is bounded, and never stands for more than they did."""

from __future__ import annotations

import gc
import time

import pytest

from pushsvc import auth
from pushsvc.errors import Unauthorized
from pushsvc.tokens import verifier
from pushsvc.tokens.verifier import Verifier

SECRET, OTHER = "a-test-key-and-nothing-but-a-test-key", "another-test-key-and-nothing-but-a-test-key"


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier, "_VERIFIED", {})


def test_a_token_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    token = auth.encode({"sub": "u", "publish": ["*"]}, SECRET, ttl=60)
    first = Verifier([SECRET]).verify(token)
    monkeypatch.setattr(verifier, "_SIGNATURES", None)
    assert Verifier([SECRET]).verify(token) is first


def test_a_known_token_ends_when_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    token = auth.encode({"sub": "u"}, SECRET, ttl=60)
    Verifier([SECRET], 5).verify(token)
    later = time.time() + 64
    monkeypatch.setattr(time, "time", lambda: later)
    Verifier([SECRET], 5).verify(token)
    with pytest.raises(Unauthorized, match="expired"):
        Verifier([SECRET], 2).verify(token)
    monkeypatch.setattr(time, "time", lambda: later + 2)
    with pytest.raises(Unauthorized, match="expired"):
        Verifier([SECRET], 5).verify(token)


def test_a_token_that_is_known_is_nothing_with_another_key() -> None:
    token = auth.encode({"sub": "u"}, SECRET, ttl=60)
    Verifier([SECRET]).verify(token)
    with pytest.raises(Unauthorized):
        Verifier([OTHER]).verify(token)
    with pytest.raises(Unauthorized):
        Verifier([SECRET]).verify(token + "x")


def test_so_many_are_known_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier, "MOST_VERIFIED", 3)
    tokens = [auth.encode({"sub": f"u{number}"}, SECRET, ttl=60) for number in range(5)]
    for token in tokens:
        Verifier([SECRET]).verify(token)
        Verifier([SECRET]).verify(tokens[0])
    assert {identity.user for identity in verifier._VERIFIED.values()} == {"u0", "u3", "u4"}


def test_no_token_stays_in_memory() -> None:
    token = auth.encode({"sub": "u"}, SECRET, ttl=60)
    Verifier([SECRET]).verify(token)
    known = [
        each for name, identity in verifier._VERIFIED.items() for each in (name, *map(str, gc.get_referents(identity)))
    ]
    assert known
    assert not any(token in str(each) for each in known)
