"""The public keys of an identity provider: a JSON Web Key Set (RFC 7517), read from a file or fetched from a URL."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import urllib3
from cryptography.exceptions import UnsupportedAlgorithm
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from pushsvc.errors import ConfigError, Unavailable

logger = logging.getLogger(__name__)

FRESH_SECONDS: Final = 300.0  # after which the keys are read again, so that a withdrawn key ends
PAUSE_SECONDS: Final = 10.0  # between two reads, whatever keys the tokens of strangers name
MOST_BYTES: Final = 2**20
LONGEST_SECONDS: Final = 15.0  # to fetch the keys in; the time-outs below are about a single read of the socket
_TIMEOUT: Final = urllib3.Timeout(connect=3.0, read=5.0)
_LEAST_RSA_BITS: Final = 2048  # RFC 7518 section 3.3
_PUBLIC: Final = frozenset({"RSA", "EC", "OKP"})  # key types; a symmetric key in such a set would be no secret
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})  # members of a private key: RFC 7518 section 6


class ProviderKeys:
    """The key set as it is now. Threads may share it.

    `version` rises whenever the keys change: what was verified with an earlier version is to be verified anew.
    """

    def __init__(self, source: str) -> None:
        """`source`: a path, or a URL with http or https. Raises ConfigError for a file that cannot be used; a URL is
        fetched when the first token needs it."""
        self.version = 0
        self._source = source
        self._keys: list[PyJWK] = []
        self._raw = b""
        self._tried_at = float("-inf")  # monotonic time
        self._failed = False
        self._reading = threading.Lock()
        if not self._is_remote:
            try:
                self._take(self._read())
            except (OSError, ValueError) as error:
                raise ConfigError(f"PUSHSVC_JWKS: {source} cannot be used: {_reason(error)}") from error

    @property
    def _is_remote(self) -> bool:
        return self._source.startswith(("http://", "https://"))

    def refresh(self) -> None:
        """Read the keys again if they are known and old; to be called before `version` is looked at. Harmless when
        repeated."""
        if self._raw and time.monotonic() - self._tried_at > FRESH_SECONDS:
            self._renew()

    def find(self, name: str | None, algorithm: str) -> Sequence[PyJWK]:
        """Find the keys with which a token may be signed. `name`: the token's `kid`, if it has one; `algorithm`: its
        `alg`. A key that is not known may be new, so the set is read again. Raises Unavailable while there is none."""
        found = self._matching(name, algorithm)
        if not found and time.monotonic() - self._tried_at > PAUSE_SECONDS:
            self._renew()
            found = self._matching(name, algorithm)
        if not self._raw:
            raise Unavailable("The keys of the identity provider cannot be read now; try again.", retry_after=5)
        return found

    def _matching(self, name: str | None, algorithm: str) -> list[PyJWK]:
        return [
            key
            for key in self._keys
            if key.algorithm_name == algorithm and (name is None or key.key_id in (name, None))
        ]

    def _renew(self) -> None:
        """Read the keys. Where that fails, the old ones go on being used. One reads at a time; the others do with what
        there is, if there is anything."""
        if not self._reading.acquire(blocking=not self._raw):
            return
        try:
            if time.monotonic() - self._tried_at <= PAUSE_SECONDS:
                return  # another one has just done it
            self._take(self._read())
            self._failed = False
        except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            if not self._failed:
                logger.warning("the keys of the identity provider (PUSHSVC_JWKS) cannot be read: %s", _reason(error))
            self._failed = True
        finally:
            self._tried_at = time.monotonic()
            self._reading.release()

    def _read(self) -> bytes:
        """Raises OSError, HTTPError, or ValueError."""
        if not self._is_remote:
            return Path(self._source).read_bytes()
        started = time.monotonic()
        with urllib3.PoolManager(num_pools=1, retries=False, timeout=_TIMEOUT) as pool:
            response = pool.request("GET", self._source, headers={"Accept": "application/json"}, preload_content=False)
            try:
                if response.status != 200:
                    raise ValueError(f"the answer has status {response.status}")
                return _body(response, started + LONGEST_SECONDS)
            finally:
                response.close()  # the rest of a body that is too long, or too slow, is never read

    def _take(self, raw: bytes) -> None:
        """Use these keys. Raises ValueError if there is none that can be used."""
        if raw == self._raw and raw:
            return
        try:
            members = orjson.loads(raw)["keys"]
            keys = [key for each in members if (key := _usable(each)) is not None]
        except (KeyError, TypeError, AttributeError, orjson.JSONDecodeError) as error:
            raise ValueError("it is no JSON Web Key Set") from error
        if not keys:
            raise ValueError("it has no public key for signatures")
        self._raw, self._keys = raw, keys
        self.version += 1


def _body(response: urllib3.BaseHTTPResponse, until: float) -> bytes:
    """Read a body. `until`: monotonic time; a server that sends a byte now and then would otherwise keep the reader,
    and with it the old keys, for hours. Raises ValueError, or HTTPError."""
    body = bytearray()
    while piece := response.read1(MOST_BYTES + 1 - len(body), decode_content=True):
        body += piece
        if len(body) > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES} bytes")
        if time.monotonic() > until:
            raise ValueError(f"it did not arrive within {LONGEST_SECONDS:.0f} s")
    return bytes(body)


def _usable(member: Any) -> PyJWK | None:
    """Read a key. None: it is not one that verifies signatures here, or it cannot be read; a set may hold such keys
    (RFC 7517 section 5)."""
    try:
        if member["kty"] not in _PUBLIC or member.get("use", "sig") != "sig":
            return None
        if "verify" not in member.get("key_ops", ["verify"]):
            return None
        key = PyJWK({name: value for name, value in member.items() if name not in _PRIVATE})
    except (PyJWTError, UnsupportedAlgorithm, NotImplementedError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return None if getattr(key.key, "key_size", _LEAST_RSA_BITS) < _LEAST_RSA_BITS and key.key_type == "RSA" else key


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
