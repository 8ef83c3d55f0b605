"""Tokens that were taken back: those with an id (claim `jti`, RFC 7519 section 4.1.7), and a user's that were issued up
to some time. Each worker knows all of them; revoking.py tells it."""

from __future__ import annotations

from pushsvc.auth import Identity

MESSAGE = "The token was revoked."


class Revocations:
    """All that this worker knows of."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._users: dict[str, float] = {}  # Unix time up to which the user's tokens were issued that are void

    def add(self, *, token: str | None = None, user: str | None = None, until: float = 0.0) -> None:
        """Note that the token with this id is void, or a user's tokens issued until this Unix time."""
        if token is not None:
            self._ids.add(token)
        if user is not None:
            self._users[user] = max(until, self._users.get(user, 0.0))

    def void(self, identity: Identity) -> bool:
        """Whether the identity's token is void. One that does not say when it was issued (`iat`) counts as old."""
        if identity.token is not None and identity.token in self._ids:
            return True
        until = None if identity.user is None or not self._users else self._users.get(identity.user)
        return until is not None and not identity.ticket and (identity.issued or 0.0) <= until
