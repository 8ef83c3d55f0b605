"""Explains to operators why there is no connection: the error of the network or of Redis, and what to check."""

from __future__ import annotations

import re
from typing import Final

_LONGEST: Final = 200  # characters; Redis's text in protected mode has a thousand
_OF_PLAIN: Final = (("reset by peer|closed by server", "does it speak TLS there (rediss://)?"),)
_OF_TLS: Final = (
    # Some servers only close, or close before the whole error is sent.
    (
        "EOF occurred in violation|certificate required|closed by server|reset by peer|broken pipe",
        "does it want a certificate of its clients (ssl_certfile)?",
    ),
    ("self-signed|unable to get (local )?issuer", "is its CA a private one (ssl_ca_certs)?"),
    # Python requires these since 3.13; older CAs lack them.
    ("Missing Authority Key|Missing Subject Key|not marked critical|key usage", "see ssl_exclude_verify_flags"),
    ("wrong version number|record layer|timed out|Timeout connecting", "does it speak TLS there?"),
)
_USER_ALONE: Final = (
    ("^invalid username-password", "a password without a user stands behind a colon, as in //:PASSWORD@"),
)


def explained(error: Exception, *, tls: bool, user_alone: bool = False) -> str:
    """Explain the error in one sentence. `user_alone`: the address has a user and no password, and there is no file
    with one."""
    text = str(error).partition(", with args beginning")[0]
    if len(text) > _LONGEST:
        text = text.partition(". ")[0][:_LONGEST]
    for pattern, hint in (*(_USER_ALONE if user_alone else ()), *(_OF_TLS if tls else _OF_PLAIN)):
        if re.search(pattern, text, re.IGNORECASE):
            return f"{text.rstrip('.')}; {hint}"
    return text
