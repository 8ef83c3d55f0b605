"""Options in the query of PUSHSVC_REDIS_URL: their schemes and allowed values. docs/redis.md explains them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

SINGLE_SCHEMES: Final = ("redis://", "rediss://")
UNIX_SCHEME: Final = "unix://"
SENTINEL_SCHEMES: Final = ("redis+sentinel://", "rediss+sentinel://")
CLUSTER_SCHEMES: Final = ("redis+cluster://", "rediss+cluster://")
SCHEMES: Final = (*SINGLE_SCHEMES, UNIX_SCHEME, *SENTINEL_SCHEMES, *CLUSTER_SCHEMES)
TLS_SCHEMES: Final = tuple(each for each in SCHEMES if each.startswith("rediss"))
_TCP_SCHEMES: Final = tuple(each for each in SCHEMES if each != UNIX_SCHEME)
_NUMBERED_SCHEMES: Final = tuple(each for each in SCHEMES if each not in CLUSTER_SCHEMES)

_TRUE: Final = ("1", "t", "true", "y", "yes", "on")
_FALSE: Final = ("0", "f", "false", "n", "no", "off")
_MOST_SECONDS: Final = 3600
# Of ssl.VerifyFlags. Python 3.13 turns on VERIFY_X509_STRICT, which many private CAs do not pass.
_VERIFY_FLAGS: Final = (
    "VERIFY_CRL_CHECK_LEAF", "VERIFY_CRL_CHECK_CHAIN", "VERIFY_X509_STRICT", "VERIFY_ALLOW_PROXY_CERTS",
    "VERIFY_X509_TRUSTED_FIRST", "VERIFY_X509_PARTIAL_CHAIN",
)  # fmt: skip
# TLS versions: redis-py's numbers (of ssl.TLSVersion), and their names.
_TLS_VERSIONS: Final = {"771": "TLSv1_2", "772": "TLSv1_3", "tlsv1.2": "TLSv1_2", "tlsv1.3": "TLSv1_3"}


def decoded(text: str, *, plus: bool = False, errors: str = "strict") -> str:
    """Percent-decode a piece of the URL. `plus`: read + as a space, as in queries. Raises ValueError, whose message
    holds no part of the text."""
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise ValueError("should have % only before two hexadecimal digits: encode % as %25")
    try:
        return unquote(text.replace("+", " ") if plus else text, errors=errors)
    except UnicodeDecodeError:
        raise ValueError("should have valid UTF-8 percent-encoded") from None


class _Bad(ValueError):
    """An option has a bad value. The text describes the right ones."""


def _text(value: str) -> str:
    if not value or "\0" in value:
        raise _Bad("a text that is not empty")
    return value


def _word(value: str) -> str:
    if not re.fullmatch(r"[!-~]+", value):  # Redis allows only these characters in a connection's name
        raise _Bad("a word of ASCII characters without blanks")
    return value


def _number(least: int, most: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,10}", value) or not least <= int(value) <= most:
            raise _Bad(f"a number from {least} to {most}")
        return int(value)

    return read


def _seconds(value: str) -> float:
    found = float(value) if re.fullmatch(r"[0-9]+(\.[0-9]*)?|\.[0-9]+", value) else math.nan
    if not 0 < found <= _MOST_SECONDS:
        raise _Bad(f"a number of seconds over 0, at most {_MOST_SECONDS}")
    return found


def _truth(value: str) -> bool:
    if value.lower() not in (*_TRUE, *_FALSE):
        raise _Bad("true or false")
    return value.lower() in _TRUE


def _verification(value: str) -> str:
    found = value.lower().removeprefix("cert_")  # Celery writes CERT_NONE
    if found not in ("none", "optional", "required"):
        raise _Bad("none, optional or required")
    return found


def _flags(value: str) -> tuple[str, ...]:
    found = tuple(each.strip() for each in value.strip("[]").split(","))
    if not set(found) <= set(_VERIFY_FLAGS):
        raise _Bad(f"one or more of {' '.join(_VERIFY_FLAGS)}, comma separated")
    return found


def _tls_version(value: str) -> str:
    found = _TLS_VERSIONS.get(value.lower())
    if found is None:
        raise _Bad("TLSv1.2 or TLSv1.3")
    return found


class _Option(NamedTuple):
    read: Callable[[str], Any]
    schemes: tuple[str, ...] = SCHEMES


_OPTIONS: Final[dict[str, _Option]] = {
    "db": _Option(_number(0, 2**31 - 1), _NUMBERED_SCHEMES),
    "client_name": _Option(_word),
    "socket_timeout": _Option(_seconds),
    "socket_connect_timeout": _Option(_seconds),
    "socket_keepalive": _Option(_truth, _TCP_SCHEMES),
    "sentinel_username": _Option(_text, SENTINEL_SCHEMES),
    "sentinel_password": _Option(_text, SENTINEL_SCHEMES),
    "ssl_ca_certs": _Option(_text, TLS_SCHEMES),
    "ssl_ca_path": _Option(_text, TLS_SCHEMES),
    "ssl_certfile": _Option(_text, TLS_SCHEMES),
    "ssl_keyfile": _Option(_text, TLS_SCHEMES),
    "ssl_password": _Option(_text, TLS_SCHEMES),
    "ssl_cert_reqs": _Option(_verification, TLS_SCHEMES),
    "ssl_check_hostname": _Option(_truth, TLS_SCHEMES),
    "ssl_min_version": _Option(_tls_version, TLS_SCHEMES),
    "ssl_ciphers": _Option(_text, TLS_SCHEMES),
    "ssl_include_verify_flags": _Option(_flags, TLS_SCHEMES),
    "ssl_exclude_verify_flags": _Option(_flags, TLS_SCHEMES),
    # Accepted without effect, because existing URLs have them: the service sets these itself.
    "health_check_interval": _Option(_number(0, 86400)),
    "max_connections": _Option(_number(1, 2**31 - 1)),
    "protocol": _Option(_number(2, 3)),
    "retry_on_timeout": _Option(_truth),
}
FILE_OPTIONS: Final = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
_FREE: Final = tuple(name for name, option in _OPTIONS.items() if option.read is _text)
_SECRETS: Final = ("sentinel_password", "ssl_password")


def holds_at_sign(query: str) -> bool:
    """Whether the query holds an @: the text before it may belong to a password that holds an unencoded ?."""
    pieces = (piece.partition("=") for piece in query.split("&"))
    return any("@" in name or ("@" in value and name not in _FREE) for name, _, value in pieces)


def read_options(query: str, scheme: str) -> Iterator[tuple[str, Any]]:
    """Parse the query. Raises ValueError, as `redis_address.parse` does."""
    pieces = [piece.partition("=") for piece in query.split("&") if piece]
    seen: set[str] = set()
    for name, equals, value in pieces:
        if name not in _OPTIONS or not equals:
            raise ValueError(_unknown(name, equals, seen, "@" in query))
        if name in seen:
            raise ValueError(f"should have {name} once")
        seen.add(name)
        option = _OPTIONS[name]
        if scheme not in option.schemes:
            raise ValueError(f"should have {name} only with {' '.join(option.schemes)}")
        try:
            yield name, option.read(decoded(value, plus=True))
        except _Bad as error:
            raise ValueError(f"should have {error} as {name}") from None
        except ValueError as error:
            raise ValueError(f"{error} (in {name})") from None
    for name, needed in (("ssl_keyfile", "ssl_certfile"), ("ssl_password", "ssl_certfile")):
        if name in seen and needed not in seen:
            raise ValueError(f"should have {needed} beside {name}")


def _unknown(name: str, equals: str, seen: set[str], unclear: bool) -> str:
    """Write the error for an unknown option. It repeats the name only where that cannot be a piece of a password that
    holds an unencoded &."""
    secret = next((each for each in _SECRETS if each in seen), None)
    if secret is not None:
        return f"should have & encoded as %26 in {secret}, and no other options than those that are known"
    if name in _OPTIONS and not equals:
        return f"should have a value for {name}"
    if unclear or not re.fullmatch(r"[A-Za-z_\-]{1,64}", name):
        return "should have no other options than those that are known, as name=value with & between"
    if name in ("username", "password"):
        return f"should have the account before an @ in front of the host, and not as {name}"
    guess = "".join(f"; is {each} meant?" for each in get_close_matches(name, _OPTIONS, 1, 0.7))
    return f"should have no option {name}, which is not known{guess}"
