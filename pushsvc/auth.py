"""Identities of callers, and what they may do: JSON Web Tokens (RFC 7519)."""

from __future__ import annotations

import hmac
import os
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jwt

from pushsvc.errors import ConfigError, Forbidden, Invalid
from pushsvc.events.names import ALL, checked_channel, user_channel

ALGORITHM: Final = "HS256"
COOKIE: Final = "pushsvc_token"
NEVER: Final = 253402300800.0  # the first moment of the year 10000; no arithmetic with times has to go beyond it
DEMO_CLAIMS: Final = {"sub": "demo", "publish": ["*"], "subscribe": ["*"]}  # all but admin


@dataclass(frozen=True, slots=True)
class Identity:
    """The claims of a verified token. `publish` and `subscribe` are patterns: channels, in which a trailing `*` matches
    any rest. `expires`: the Unix time from which the token is refused, leeway included; None: never. `mark`: names the
    token among all tokens; empty where there is none. `token`: its own id (claim `jti`), or that of the token with
    which the `ticket` was made; `issued`: the Unix time from which it is (claim `iat`)."""

    user: str | None
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    admin: bool = False
    expires: float | None = None
    mark: str = ""
    token: str | None = None
    issued: float | None = None
    ticket: bool = False

    @property
    def owner(self) -> str:
        """The owner of the caller's requests: the user, or the token if that names no user."""
        return f"token:{self.mark}" if self.user is None else f"user:{self.user}"

    def need_user(self) -> str:
        """The token's user. Raises Forbidden if it names none."""
        if self.user is None:
            raise Forbidden("This token names no user (claim sub), so it has no events of its own.")
        return self.user

    def need_admin(self) -> None:
        """Check that the token is an admin's. Raises Forbidden."""
        if not self.admin:
            raise Forbidden("This needs an admin's token (claim admin).")

    def may_publish(self, channel: str) -> bool:
        """Whether the token allows publishing to the channel."""
        return _matches(self.publish, channel)

    def may_subscribe(self, channel: str) -> bool:
        """Whether the token allows reading the channel. A user always reads their own channel, and `all`."""
        own = self.user is not None and channel in (ALL, user_channel(self.user))
        return own or _matches(self.subscribe, channel)

    def need_publish(self, channels: Iterable[str]) -> None:
        """Check that the token allows publishing to these channels. Raises Forbidden, naming the first that it does
        not."""
        for channel in channels:
            if not self.may_publish(channel):
                raise Forbidden(f"This token may not publish to {channel}.")

    def need_subscribe(self, channels: Iterable[str]) -> None:
        """Check that the token allows reading these channels. Raises Forbidden, naming the first that it does not."""
        for channel in channels:
            if not self.may_subscribe(channel):
                raise Forbidden(f"This token may not subscribe to {channel}.")


def _matches(patterns: Iterable[str], channel: str) -> bool:
    return any(
        channel.startswith(pattern[:-1]) if pattern.endswith("*") else channel == pattern for pattern in patterns
    )


def matches_something(pattern: str) -> bool:
    """Whether any channel can match the pattern."""
    start = pattern.removesuffix("*")
    if start != pattern and any(channel.startswith(start) for channel in ("user:", "topic:", ALL)):
        return True
    try:
        return checked_channel(start) != ""
    except Invalid:
        return False


def encode(claims: Mapping[str, Any], secret: str, *, ttl: float | None) -> str:
    """Make a token with these claims, which ends after `ttl` seconds (None: never)."""
    expiry = {} if ttl is None else {"exp": int(time.time() + ttl)}
    return jwt.encode({**claims, **expiry}, secret, algorithm=ALGORITHM)


def derived_key(secret: str, purpose: str) -> str:
    """The signing key for one kind of token, so that a token of one kind is never accepted as another kind."""
    return hmac.digest(secret.encode(), purpose.encode(), "sha256").hex()


def load_secrets(given: Sequence[str], data_dir: Path) -> tuple[str, ...]:
    """The secrets, of which the first signs: those `given`, else the one in `data_dir`, which is made if it is missing,
    readable by its owner alone. Raises ConfigError if it cannot be read or made, or is too short."""
    if given:
        return tuple(given)
    path = data_dir / "secret"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            draft = data_dir / f"secret.{os.getpid()}.{secrets.token_hex(4)}"
            draft.touch(mode=0o600)
            draft.write_text(secrets.token_urlsafe(48))
            try:
                os.link(draft, path)  # atomic, and the first of several workers wins
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        secret = path.read_text().strip()
    except OSError as error:
        raise ConfigError(f"PUSHSVC_DATA_DIR: cannot keep the secret in {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"PUSHSVC_SECRET: {path} is not text; delete it to have a new one made") from error
    if len(secret.encode()) < 32:
        raise ConfigError(f"PUSHSVC_SECRET: {path} holds less than 32 bytes; delete it to have a new one made")
    return (secret,)
