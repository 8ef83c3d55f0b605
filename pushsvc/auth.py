"""Identities of callers, and what they may do: JSON Web Tokens (RFC 7519), HS256 only."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jwt
from gevent.monkey import get_original

from pushsvc.errors import ConfigError, Forbidden, Invalid, Unauthorized
from pushsvc.events.names import ALL, checked_channel, checked_name, user_channel

ALGORITHM: Final = "HS256"
COOKIE: Final = "pushsvc_token"
NEVER: Final = 253402300800.0  # the first moment of the year 10000; no arithmetic with times has to go beyond it
DEMO_CLAIMS: Final = {"sub": "demo", "publish": ["*"], "subscribe": ["*"]}  # all but admin


@dataclass(frozen=True, slots=True)
class Identity:
    """The claims of a verified token. `publish` and `subscribe` are patterns: channels, in which a trailing `*` matches
    any rest. `expires`: the Unix time from which the token is refused, leeway included; None: never."""

    user: str | None
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    admin: bool = False
    expires: float | None = None

    def need_user(self) -> str:
        """The token's user. Raises Forbidden if it names none."""
        if self.user is None:
            raise Forbidden("This token names no user (claim sub), so it has no events of its own.")
        return self.user

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


def decode(token: str, secret: str, leeway: float = 0.0) -> Identity:
    """Verify a token. `leeway`: seconds by which the clock of the token's maker may be off. Raises Unauthorized, or
    Forbidden for a valid token whose `sub` is no user name."""
    name = _name_of(token, secret, leeway)
    identity = _VERIFIED.get(name) or _verify(token, secret, leeway)
    with _LOCK:  # some servers have threads
        _VERIFIED.pop(name, None)
        _VERIFIED[name] = identity  # the newest last
        if len(_VERIFIED) > MOST_VERIFIED:
            del _VERIFIED[next(iter(_VERIFIED))]
    if identity.expires is not None and identity.expires <= time.time():
        raise Unauthorized("The token has expired.")
    return identity


# A backend sends the same token with every request, and a page that comes back its own. They are known by a keyed hash
# alone: no dump of the memory holds a crowd's tokens.
MOST_VERIFIED: Final = 10_000
_VERIFIED: Final[dict[bytes, Identity]] = {}
_LOCK: Final = get_original("threading", "Lock")()  # nothing under it switches to another greenlet
_HASH_KEY: Final = secrets.token_bytes(32)


def _name_of(token: str, secret: str, leeway: float) -> bytes:
    """The name of a token in the cache: another secret or leeway makes another name."""
    said = "\0".join((secret, repr(leeway), token)).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(said, key=_HASH_KEY, digest_size=20).digest()


def _verify(token: str, secret: str, leeway: float) -> Identity:
    try:
        claims = jwt.decode(token, secret, algorithms=[ALGORITHM], options=_OUR_OWN_CHECKS)
    except (jwt.PyJWTError, RecursionError) as error:  # RecursionError: the token's JSON is nested too deeply
        raise Unauthorized("The token is not valid.") from error
    expires = _date(claims, "exp")
    for name in ("nbf", "iat"):
        begins = _date(claims, name)
        if begins is not None and begins > time.time() + leeway:
            raise Unauthorized(f"The token is not valid yet: its claim {name} lies ahead.")
    sub = claims.get("sub")
    try:
        user = None if sub is None else checked_name(sub, "sub")
    except Invalid as error:
        raise Forbidden(f"The token is valid, but its {error.detail}") from error
    return Identity(
        user=user,
        publish=_patterns(claims, "publish"),
        subscribe=_patterns(claims, "subscribe"),
        admin=claims.get("admin") is True,
        expires=None if expires is None or expires >= NEVER else expires + leeway,
    )


# This module checks these claims itself: PyJWT fails on times that no float can hold, and calls a token with a subject
# that is no string invalid, where Forbidden says more.
_OUR_OWN_CHECKS: Final[Any] = dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat", "verify_sub"), False)


def _date(claims: Mapping[str, Any], name: str) -> float | None:
    """Read a claim that is a time (RFC 7519 section 2, NumericDate), within bounds that can be calculated with."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise Unauthorized(f"The token's claim {name} must be a number.")
    return float(max(0, min(NEVER, value)))


def _patterns(claims: Mapping[str, Any], name: str) -> tuple[str, ...]:
    patterns = claims.get(name, [])
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise Unauthorized(f"The token's claim {name} must be a list of channels.")
    return tuple(patterns)


def derived_key(secret: str, purpose: str) -> str:
    """The signing key for one kind of token, so that a token of one kind is never accepted as another kind."""
    return hmac.digest(secret.encode(), purpose.encode(), "sha256").hex()


def load_secret(given: str, data_dir: Path) -> str:
    """The signing secret: `given`, else the one in `data_dir`, which is made if it is missing, readable by its owner
    alone. Raises ConfigError if it cannot be read or made, or is too short."""
    if given:
        return given
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
    return secret
