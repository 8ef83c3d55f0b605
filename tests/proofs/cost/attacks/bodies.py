"""Attacks with the bodies of requests."""

from __future__ import annotations

from tests.proofs.cost.attack import Attack, Target

_JSON = "Content-Type: application/json"
_MB = 2**20


def _no_rights(target: Target, body: bytes) -> None:
    target.ask("POST /publish", _JSON, target.bearer("mallory"), body=body)


def _no_token(target: Target, body: bytes) -> None:
    target.ask("POST /publish", _JSON, body=body)


def _no_token_nginx(target: Target, body: bytes) -> None:
    target.ask("POST /publish", _JSON, body=body, door=target.http)


def _own_topic(target: Target, body: bytes) -> None:
    target.ask("POST /publish", _JSON, target.bearer("mallory", publish=["topic:mallory"]), body=body)


def _lines(target: Target, body: bytes) -> None:
    rights = target.bearer("mallory", publish=["topic:mallory"])
    target.ask("POST /publish", "Content-Type: application/x-ndjson", rights, body=body)


def _ticket(target: Target, body: bytes) -> None:
    target.ask("POST /tickets", _JSON, target.bearer("mallory"), body=body)


def _half(target: Target, body: bytes) -> None:
    """Send nine tenths of a body, and wait."""
    with target.connect() as client:
        rights = target.bearer("mallory", publish=["topic:mallory"])
        head = f"POST /publish HTTP/1.1\r\nHost: x\r\n{_JSON}\r\n{rights}\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body[: len(body) * 9 // 10])
        client.recv(65536)


def _array(filling: bytes, size: int) -> bytes:
    return b"[" + filling * (size // len(filling)) + b"1]"


_EVENT = b'{"topic":"mallory","data":[' + b"[]," * 300 + b"1]},"

ATTACKS = {
    "64-MB-no-rights": Attack(_no_rights, lambda _: _array(b"[],", 64 * _MB - 10), at_once=2),
    "64-MB-no-token": Attack(_no_token, lambda _: _array(b"[],", 64 * _MB - 10), at_once=4),
    "64-MB-no-token-nginx": Attack(_no_token_nginx, lambda _: _array(b"[],", 64 * _MB - 10), at_once=4),
    "batch-of-64-MB": Attack(_own_topic, lambda _: _array(b"[],", 64 * _MB - 10), at_once=4),
    "batch-of-lists": Attack(_own_topic, lambda _: _array(b"[],", 8 * _MB - 10), at_once=10, pause=0.5),
    "batch-of-large-numbers": Attack(_own_topic, lambda _: _array(b"1.10,", 8 * _MB - 10), at_once=10, pause=0.5),
    "batch-of-values": Attack(_own_topic, lambda _: _array(_EVENT, 2 * _MB), at_once=10, pause=0.5),
    "lines-of-lists": Attack(_lines, lambda _: (_array(b"[],", _MB // 2 - 10) + b"\n") * 20, at_once=10, pause=0.5),
    "ticket-of-lists": Attack(_ticket, lambda _: b'{"topics":' + _array(b"[],", 300_000) + b"}", at_once=10, pause=0.5),
    "bodies-that-wait": Attack(_half, lambda _: _array(b"[],", 8 * _MB - 10), at_once=60),
}
