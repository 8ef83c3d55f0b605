"""Attacks with the heads of requests. None but those of listeners has a token."""

from __future__ import annotations

from tests.proofs.cost.attack import Attack, Target

_BYTES = 120_000


def _ask(line: str, *fields: str) -> Attack:
    return Attack(lambda target, _: target.ask(line, *fields), at_once=4, pause=0.2)


def _as_user(line: str, *fields: str) -> Attack:
    return Attack(lambda target, _: target.ask(line, target.bearer("mallory"), *fields), at_once=4, pause=0.2)


def _repeated(piece: str) -> str:
    return piece * (_BYTES // len(piece))


def _names() -> str:
    return "&".join(f"topixs{number}=" for number in range(_BYTES // 14))


def _listen(target: Target, _: object) -> None:
    target.ask("GET /events?since=unread", target.bearer("mallory"), f"Accept: {_repeated('a/b;q=0.1,')}")


ATTACKS = {
    "many-parameters": _ask(f"GET /v1/generations/gen_x/events?{_names()}"),
    "many-separators": _ask(f"GET /unread?{_repeated('&')}"),
    "a-long-name": _as_user(f"GET /events?{_repeated('topics')}=1"),
    "many-cookies": _ask("GET /unread", f"Cookie: {_repeated('a=b; ')}"),
    "many-own-cookies": _ask("GET /unread", f"Cookie: {_repeated('pushsvc_session_x=a.b.c; ')}"),
    "many-addresses": _ask("GET /unread", f"X-Forwarded-For: {_repeated('127.0.0.1,')}"),
    "a-long-token": _ask("GET /unread", f"Authorization: Bearer {_repeated('W1tb')}.a.b"),
    "a-long-id": _as_user("GET /events", f"Last-Event-ID: {_repeated('1-1.')}"),
    "many-topics": _as_user(f"GET /events?topics={_repeated('a,')}"),
    "many-proofs": _ask(f"GET /unread?a={_repeated('1-1~abcdefgh,')}"),
    "a-long-accept": Attack(_listen, at_once=4, pause=0.2),
}
