"""Tokens are verified once; what is known of them afterwards is bounded, and never stands for more than they did."""

from __future__ import annotations

import gc
import time

import jwt
import pytest

from pushsvc import auth
from pushsvc.errors import Unauthorized

SECRET, OTHER = "a-test-key-and-nothing-but-a-test-key", "another-test-key-and-nothing-but-a-test-key"


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "_VERIFIED", {})


def test_a_token_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    token = auth.encode({"sub": "u", "publish": ["*"]}, SECRET, ttl=60)
    first = auth.decode(token, SECRET)
    monkeypatch.setattr(jwt, "decode", None)
    assert auth.decode(token, SECRET) is first


def test_a_known_token_ends_when_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    token = auth.encode({"sub": "u"}, SECRET, ttl=60)
    auth.decode(token, SECRET, 5)
    later = time.time() + 64
    monkeypatch.setattr(time, "time", lambda: later)
    auth.decode(token, SECRET, 5)
    with pytest.raises(Unauthorized, match="expired"):
        auth.decode(token, SECRET, 2)
    monkeypatch.setattr(time, "time", lambda: later + 2)
    with pytest.raises(Unauthorized, match="expired"):
        auth.decode(token, SECRET, 5)


def test_a_token_that_is_known_is_nothing_with_another_key() -> None:
    token = auth.encode({"sub": "u"}, SECRET, ttl=60)
    auth.decode(token, SECRET)
    with pytest.raises(Unauthorized):
        auth.decode(token, OTHER)
    with pytest.raises(Unauthorized):
        auth.decode(token + "x", SECRET)


def test_so_many_are_known_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "MOST_VERIFIED", 3)
    tokens = [auth.encode({"sub": f"u{number}"}, SECRET, ttl=60) for number in range(5)]
    for token in tokens:
        auth.decode(token, SECRET)
        auth.decode(tokens[0], SECRET)
    assert {identity.user for identity in auth._VERIFIED.values()} == {"u0", "u3", "u4"}


def test_no_token_stays_in_memory() -> None:
    token = auth.encode({"sub": "u"}, SECRET, ttl=60)
    auth.decode(token, SECRET)
    known = [
        each for name, identity in auth._VERIFIED.items() for each in (name, *map(str, gc.get_referents(identity)))
    ]
    assert known
    assert not any(token in str(each) for each in known)
