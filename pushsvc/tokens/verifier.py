"""Verifies tokens: who is a caller, and until when (RFC 7519)."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import jwt
from gevent.monkey import get_original
from jwt.algorithms import HMACAlgorithm

from pushsvc.auth import ALGORITHM, NEVER, Identity
from pushsvc.errors import Forbidden, Invalid, Unauthorized
from pushsvc.events.names import checked_name
from pushsvc.tokens.provider_keys import ProviderKeys
from pushsvc.tokens.revocations import MESSAGE, Revocations


class Verifier:
    """Verifies tokens.

    HS256 is verified with our own secrets, each other algorithm with the keys of an identity provider, if there is one.
    """

    def __init__(
        self,
        secrets: Sequence[str],
        leeway: float = 0.0,
        *,
        provider: ProviderKeys | None = None,
        issuer: str = "",
        audience: str = "",
        revocations: Revocations | None = None,
    ) -> None:
        """`secrets`: any of them may have signed; `leeway`: seconds by which the clock of a token's maker may be off;
        `issuer`, `audience`: what the claims `iss` and `aud` must say, empty: anything. Where there is a provider, they
        are about its tokens, and our own need not have the claims."""
        self._secrets = secrets
        self._leeway = leeway
        self._provider = provider
        self._issuer = issuer
        self._audience = audience
        self._revocations = revocations
        # What the name of a token in the cache begins with: another verifier's tokens have other names.
        self._kind = "\0".join(
            (*secrets, repr(leeway), issuer, audience, "" if provider is None else str(id(provider)))
        )

    def verify(self, token: str) -> Identity:
        """Verify a token. Raises Unauthorized; Forbidden for a valid token whose `sub` is no user name; or Unavailable
        while the provider's keys cannot be read."""
        name = self._name_of(token)
        identity = _VERIFIED.get(name) or self._verify(token)
        with _LOCK:  # some servers have threads
            _VERIFIED.pop(name, None)
            _VERIFIED[name] = identity  # the newest last
            if len(_VERIFIED) > MOST_VERIFIED:
                del _VERIFIED[next(iter(_VERIFIED))]
        self.check(identity)
        return identity

    def check(self, identity: Identity) -> None:
        """Check that a token that was good is so still. Raises Unauthorized."""
        if identity.expires is not None and identity.expires <= time.time():
            raise Unauthorized("The token has expired.")
        if self._revocations is not None and self._revocations.void(identity):
            raise Unauthorized(MESSAGE)

    def _name_of(self, token: str) -> bytes:
        """The name of a token in the cache. A change of the provider's keys gives all tokens other names."""
        version = 0
        if self._provider is not None:
            self._provider.refresh()
            version = self._provider.version
        said = f"{version}\0{self._kind}\0{token}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(said, key=_HASH_KEY, digest_size=20).digest()

    def _verify(self, token: str) -> Identity:
        try:
            header = {} if self._provider is None else jwt.get_unverified_header(token)
            ours = self._provider is None or header.get("alg") == ALGORITHM
            claims = self._claims(token, [(each, ALGORITHM) for each in self._secrets] if ours else self._keys(header))
        except (jwt.PyJWTError, RecursionError) as error:  # RecursionError: the token's JSON is nested too deeply
            raise Unauthorized("The token is not valid.") from error
        self._check_origin(claims, ours=ours)
        # Without the signature: the same one can be written in several ways.
        signed = token.rpartition(".")[0].encode()
        return _identity(claims, self._leeway, hashlib.blake2b(signed, digest_size=16).hexdigest())

    def _keys(self, header: Mapping[str, Any]) -> list[tuple[Any, str]]:
        """The provider's keys that may have signed a token, each with its algorithm."""
        name, algorithm = header.get("kid"), header.get("alg")
        assert self._provider is not None
        found = self._provider.find(name, algorithm) if isinstance(algorithm, str) else ()
        return [(key, key.algorithm_name) for key in found]

    @staticmethod
    def _claims(token: str, keys: Sequence[tuple[Any, str]]) -> dict[str, Any]:
        """Read the claims of a token that one of the keys has signed. Raises PyJWTError."""
        refused: jwt.PyJWTError = jwt.InvalidKeyError("no key is known for this token")
        for key, algorithm in keys:
            try:
                payload = _SIGNATURES.decode(token, key, algorithms=[algorithm])
            except jwt.InvalidSignatureError as error:
                refused = error
            else:
                return _members(payload)
        raise refused

    def _check_origin(self, claims: Mapping[str, Any], *, ours: bool) -> None:
        """Check who made the token, and for whom (RFC 7519 sections 4.1.1 and 4.1.3)."""
        needed = not ours or self._provider is None
        audiences = claims.get("aud")
        named = audiences if isinstance(audiences, list) else [audiences]
        for claim, wanted, said in (("iss", self._issuer, [claims.get("iss")]), ("aud", self._audience, named)):
            if wanted and wanted not in said and (needed or claim in claims):
                raise Unauthorized(f"The token is not meant for this service: its claim {claim} says something else.")


# A backend sends the same token with every request, and a page that comes back its own. They are known by a keyed hash
# alone: no dump of the memory holds a crowd's tokens.
MOST_VERIFIED: Final = 10_000
_VERIFIED: Final[dict[bytes, Identity]] = {}
_LOCK: Final = get_original("threading", "Lock")()  # nothing under it switches to another greenlet
_HASH_KEY: Final = secrets.token_bytes(32)


def _identity(claims: Mapping[str, Any], leeway: float, mark: str) -> Identity:
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
        token=claims["jti"] if isinstance(claims.get("jti"), str) else None,
        issued=_date(claims, "iat"),
        mark=mark,
    )


class _OurSecrets(HMACAlgorithm):
    """HMAC with keys that were checked at the start. PyJWT checks the key anew with each token, which takes longer than
    the signature."""

    def prepare_key(self, key: str | bytes) -> bytes:
        """Give the key as bytes."""
        return key.encode() if isinstance(key, str) else key

    def check_key_length(self, key: bytes) -> str | None:  # noqa: ARG002
        """Find nothing wrong."""
        return None


# Signatures alone. This module checks the claims itself: PyJWT fails on times that no float can hold, and calls a token
# with a subject that is no string invalid, where Forbidden says more.
_SIGNATURES: Final = jwt.PyJWS()
_SIGNATURES.unregister_algorithm(ALGORITHM)
_SIGNATURES.register_algorithm(ALGORITHM, _OurSecrets(_OurSecrets.SHA256))


def _members(payload: bytes) -> dict[str, Any]:
    """Read the claims. Raises PyJWTError."""
    try:
        claims = json.loads(payload)
    except ValueError as error:
        raise jwt.DecodeError("the claims are no JSON") from error
    if not isinstance(claims, dict):
        raise jwt.DecodeError("the claims are no JSON object")
    return claims


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
