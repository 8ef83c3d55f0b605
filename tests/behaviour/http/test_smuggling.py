"""Request smuggling: what two servers could read in two ways is refused, or is one request. Never two."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Final, NamedTuple

import orjson
import pytest

from tests.support.clients.eventsource import EventSource
from tests.support.clients.fuzzing import smuggled
from tests.support.clients.wire import Answer, request, wire
from tests.support.stack import Stack, read_to_the_end

CASES: Final = {
    f"{kind.removesuffix('S').lower()}: {name}": cases
    for kind in ("LENGTHS", "CODINGS", "CHUNKS", "LINES")
    for name, cases in getattr(smuggled, kind).items()
}
LAST: Final = request("GET /healthz", "Connection: close")


@pytest.fixture(params=["nginx", "worker"])
def base(request: pytest.FixtureRequest, stack: Stack) -> str:
    return stack.url if request.param == "nginx" else stack.app_url


class Victim(NamedTuple):
    """A user who hears it if a hidden request is served."""

    user: str
    source: EventSource


@pytest.fixture(scope="module")
def victim(stack: Stack) -> Iterator[Victim]:
    user = f"victim.{uuid.uuid4().hex}"
    with stack.listen(user) as source:
        yield Victim(user, source)


def bearer(stack: Stack) -> str:
    return stack.bearer(publish=["*"])["Authorization"]


def forms(stack: Stack, victim: Victim, cases: list[str]) -> tuple[str, list[bytes]]:
    """The events that are heard if a hidden request is served, and the requests that hide it."""
    word = uuid.uuid4().hex
    body = orjson.dumps({"user": victim.user, "data": word})
    fields = "Content-Type: application/json", f"Authorization: {bearer(stack)}"
    hidden = request("POST /publish", *fields, body=body)
    return word, [smuggled.filled(case, by, hidden) for case in cases for by in smuggled.carriers(bearer(stack))]


def exchanged(base: str, raw: bytes) -> list[Answer]:
    """All final answers on a connection that sends this, and then an ordinary request that closes it."""
    with wire(base) as client:
        client.send(raw + LAST)
        first = client.answer("HEAD" if raw.startswith(b"HEAD ") else "GET")
        assert first is not None
        return [each for each in (first, *client.answers()) if each.status >= 200]


def is_unheard(stack: Stack, victim: Victim, word: str) -> bool:
    """Whether nothing but what is published now reaches the victim."""
    victim.source.wait_ids(stack.publish(user=victim.user, data="published"))
    return word not in victim.source.data


@pytest.mark.parametrize("case", CASES)
def test_there_is_never_a_second_request_in_one(stack: Stack, base: str, victim: Victim, case: str) -> None:
    word, requests = forms(stack, victim, CASES[case])
    for raw in requests:
        first, *others = exchanged(base, raw)
        assert first.whole
        if others:
            [last] = others
            assert b'"alive"' in last.body or (last.status, last.is_problem) == (400, True)
        else:
            assert first.is_problem
    assert is_unheard(stack, victim, word)


@pytest.mark.parametrize("case", smuggled.STRICT)
def test_the_worker_takes_nothing_for_what_it_is_not(stack: Stack, victim: Victim, case: str) -> None:
    word, requests = forms(stack, victim, smuggled.STRICT[case])
    for raw in requests:
        [only] = exchanged(stack.app_url, raw)
        assert only.is_problem
    assert is_unheard(stack, victim, word)


@pytest.mark.parametrize("case", smuggled.BROKEN)
def test_a_broken_body_stays_broken(stack: Stack, victim: Victim, case: str) -> None:
    """The bytes that follow are no request, however good they look: nothing says where the body ends."""
    word, requests = forms(stack, victim, smuggled.BROKEN[case])
    for raw in requests:
        [only] = exchanged(stack.app_url, raw)
        assert only.is_problem
    assert is_unheard(stack, victim, word)


@pytest.mark.parametrize("case", smuggled.OLD)
def test_what_has_no_version_is_one_request_at_most(stack: Stack, base: str, victim: Victim, case: str) -> None:
    word, requests = forms(stack, victim, [smuggled.OLD[case]])
    for raw in requests:
        with wire(base) as client:
            client.send(raw + LAST)
            told = read_to_the_end(client.socket)
        assert b'"id"' not in told
        assert base == stack.url or told.startswith(b"HTTP/1.1 400 ")
    assert is_unheard(stack, victim, word)


TRAILERS: Final = ["Content-Length: 3", "Transfer-Encoding: chunked", "Host: y", "Content-Type: text/plain", "X-A: b"]


def chunked(stack: Stack, user: str, *, head: str = "", trailer: str = "") -> bytes:
    """A publication of which only the head or only the trailers may say who publishes."""
    body = orjson.dumps({"user": user, "data": "-"})
    fields = ["Content-Type: application/json", "Transfer-Encoding: chunked", *([head] if head else [])]
    trailers = "".join(f"{each}\r\n" for each in [*TRAILERS, *([trailer] if trailer else [])]).encode()
    return request("POST /publish", *fields) + b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, trailers)


def test_trailers_change_nothing(stack: Stack, base: str, user: str) -> None:
    good = f"Authorization: {bearer(stack)}"
    with wire(base) as client:
        for head, trailer, status in ((good, "Authorization: Bearer x", 200), ("", good, 401), (good, "", 200)):
            client.send(chunked(stack, user, head=head, trailer=trailer))
            answer = client.answer()
            assert answer is not None
            assert answer.status == status


def test_a_name_with_an_underscore_is_not_the_one_with_a_hyphen(stack: Stack, base: str, user: str) -> None:
    """They would be the same in the environment of WSGI: a client could say what only a proxy may."""
    body = orjson.dumps({"user": user, "data": "-"})
    fields = ["Content-Type: application/json", "Content_Length: 3", "Content_Type: text/plain", "Authorization_: x"]
    with wire(base) as client:
        client.send(request("POST /publish", *fields, f"Authorization: {bearer(stack)}", body=body))
        client.send(request("POST /publish", *fields, f"Authorizatio_n: {bearer(stack)}", body=body))
        assert [each and each.status for each in (client.answer(), client.answer())] == [200, 401]
