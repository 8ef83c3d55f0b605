"""The text that operators read where there is no connection."""

from __future__ import annotations

import pytest

from pushsvc.storage.redis.explaining import explained

DENIED = (
    "DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the "
    "default user. In this mode connections are only accepted from the loopback interface. If you want to connect from "
    "external computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode sending"
)


@pytest.mark.parametrize(
    ("text", "tls", "said"),
    [
        ("Connection refused.", False, "Connection refused."),
        ("Connection closed by server.", False, "Connection closed by server; does it speak TLS there (rediss://)?"),
        ("Connection closed by server.", True, "does it want a certificate of its clients (ssl_certfile)?"),
        ("Timeout connecting to server", False, "Timeout connecting to server"),
        ("Timeout connecting to server", True, "Timeout connecting to server; does it speak TLS there?"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", True, "does it speak TLS there?"),
        ("certificate verify failed: Missing Authority Key Identifier", True, "see ssl_exclude_verify_flags"),
        (DENIED, False, "no password is set for the default user"),
        ("x" * 1000, False, "x" * 200),
        ("invalid username-password pair or user is disabled.", False, "stands behind a colon, as in //:PASSWORD@"),
    ],
)
def test_a_sentence_and_what_to_look_at(text: str, tls: bool, said: str) -> None:
    found = explained(ConnectionError(text), tls=tls, user_alone=True)
    assert found.endswith(said)
    assert len(found) < 300


def test_a_user_with_a_password_is_not_taken_for_one() -> None:
    text = "invalid username-password pair or user is disabled."
    assert explained(ConnectionError(text), tls=False) == text
