"""The backend that is told of hooks, over HTTP."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import socket
import time
from typing import Any, Final
from urllib.parse import urlsplit

import gevent
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from pushsvc.concurrency.loops import is_news
from pushsvc.telemetry import spans

logger = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 10.0  # for a whole exchange; each wait for bytes may take half of it
MOST_ANSWER_BYTES: Final = 65536  # what follows is not read
AT_ONCE: Final = 16  # connections
SAME_SECONDS: Final = 60.0  # between two equal log lines


class PrivateAddress(OSError):
    """The receiver's name leads to a private address, which was not allowed."""


class Receiver:
    """A URL to which hooks are posted, signed with a key that it knows."""

    def __init__(self, url: str, secret: str, *, private: bool) -> None:
        """`private`: whether the URL's name may lead to a private address. An address that stands in the URL itself,
        and `localhost`, always may: a name can be pointed elsewhere by others, these cannot."""
        self._url = url
        self._host = urlsplit(url).hostname or ""
        self._secret = secret.encode()
        self._pool = urllib3.PoolManager(
            1, maxsize=AT_ONCE, block=True, retries=False, timeout=urllib3.Timeout(ANSWER_SECONDS / 2)
        )
        if not private and not _is_literal(self._host):
            self._pool.pool_classes_by_scheme = {"http": _PublicPool, "https": _PublicTlsPool}

    def post(self, body: bytes) -> bool:
        """Post a hook. True: the receiver took it, with a status of 200 to 299. Redirects are not followed."""
        at = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "pushsvc",
            "Pushsvc-Signature": f"t={at},v1={signature(self._secret, at, body)}",
        }
        span = spans.begin("POST", "CLIENT", {"http.request.method": "POST", "server.address": self._host})
        kind, why = "timeout", "it took too long"
        with gevent.Timeout(ANSWER_SECONDS, False):
            try:
                status = self._exchange(body, headers if span is None else headers | span.headers)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                kind, why = type(error).__name__, f"{type(error).__name__}: {error}"
            else:
                kind, why = str(status), f"it answers {status}"
        took = kind.startswith("2")
        if span is not None:
            span.end(None if took else kind)
        if not took and is_news(f"hook {why[:40]}", SAME_SECONDS):
            logger.warning("PUSHSVC_HOOK_URL: a hook was not taken, and is sent again: %s", why[:300])
        return took

    def _exchange(self, body: bytes, headers: dict[str, str]) -> int:
        answer = self._pool.request(
            "POST", self._url, body=body, headers=headers, redirect=False, preload_content=False
        )
        try:
            if len(answer.read(MOST_ANSWER_BYTES + 1)) > MOST_ANSWER_BYTES:
                answer.close()
            return answer.status
        finally:
            answer.release_conn()


def signature(secret: bytes, at: str, body: bytes) -> str:
    """HMAC-SHA256 of the time and the body, in hex: so nobody can send an old body with a new time."""
    return hmac.new(secret, at.encode() + b"." + body, hashlib.sha256).hexdigest()


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def _checked(sock: socket.socket) -> socket.socket:
    """Refuse a connection to a private address: it is known only now where the name leads."""
    if not ipaddress.ip_address(sock.getpeername()[0]).is_global:
        sock.close()
        raise PrivateAddress("its name leads to a private address (PUSHSVC_HOOK_PRIVATE=on allows that)")
    return sock


class _Public(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn())


class _PublicTls(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn())


class _PublicPool(urllib3.HTTPConnectionPool):
    ConnectionCls: Any = _Public


class _PublicTlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls: Any = _PublicTls
