"""Explains to operators, in one sentence, why no sentinel names the master."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import redis
from redis.exceptions import AuthenticationError, InvalidResponse, ResponseError

from pushsvc.addresses.redis_address import Address
from pushsvc.storage.redis.explaining import explained

_MOST_NAMED: Final = 5
_CONNECTING: Final = re.compile(
    r"Error (?:-?\d+ )?(?:connecting to|while reading from) \S+ (?:: )?"
)  # redis-py's, before the reason


class NoMaster(redis.ConnectionError):
    """No sentinel names the master yet; a retry may succeed."""


class RefusedBySentinels(NoMaster, AuthenticationError):
    """No sentinel will name the master until an operator corrects the account."""


def no_master(service: str, failures: Mapping[Address, Exception | None], *, tls: bool) -> NoMaster:
    """The error with the reason. `failures`: what went wrong with each sentinel; None: it knows no master of this
    name. The most likely mistake of an operator is named."""
    errors = {address: error for address, error in failures.items() if error is not None}
    for address, error in errors.items():
        if isinstance(error, InvalidResponse) or "unknown command" in str(error).lower():
            return NoMaster(f"what answers at {_where(address)} is no sentinel")
    for error in errors.values():
        if isinstance(error, (AuthenticationError, ResponseError)):
            return RefusedBySentinels(f"the sentinels refuse the service: {explained(error, tls=tls)}")
    if len(errors) < len(failures):
        return NoMaster(f"the sentinels refuse the service: they know no master called {service!r}")
    reasons = [f"{_where(address)} ({_reason(error, tls)})" for address, error in errors.items()]
    more = f" and {len(reasons) - _MOST_NAMED} more" if len(reasons) > _MOST_NAMED else ""
    return NoMaster(f"no sentinel answers: {', '.join(reasons[:_MOST_NAMED])}{more}")


def _where(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: Exception, tls: bool) -> str:
    return _CONNECTING.sub("", explained(error, tls=tls)).rstrip(".")
