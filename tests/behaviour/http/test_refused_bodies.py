"""A request that is not allowed, or is too large, is refused before its body is read; and long bodies have bounds."""

from __future__ import annotations

import orjson
import pytest

from tests.conftest import Start
from tests.support.clients.wire import Answer, Wire, request, wire
from tests.support.stack import Stack

MB = 2**20


def head(bearer: dict[str, str], length: int, path: str = "/publish", kind: str = "application/json") -> bytes:
    fields = [f"{name}: {value}" for name, value in bearer.items()]
    return request(f"POST {path}", f"Content-Type: {kind}", f"Content-Length: {length}", *fields)


def told(client: Wire) -> Answer:
    answer = client.answer()
    assert answer is not None
    return answer


@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson"])
@pytest.mark.parametrize(("claims", "status"), [(None, 401), ({}, 403), ({"publish": []}, 403)])
def test_rights_are_looked_at_before_the_body_comes(
    stack: Stack, kind: str, claims: dict[str, list[str]] | None, status: int
) -> None:
    bearer = {} if claims is None else stack.bearer("u", **claims)
    with wire(stack.app_url) as client:
        client.send(head(bearer, 4 * MB, kind=kind))  # and nothing of the body
        answer = told(client)
        assert (answer.status, answer.is_problem, answer.fields["connection"]) == (status, True, "close")


@pytest.mark.parametrize(("path", "most"), [("/publish", 8 * MB), ("/tickets", 320_000), ("/ack", 65536)])
def test_a_size_that_no_request_has_is_refused_before_the_body_comes(stack: Stack, path: str, most: int) -> None:
    with wire(stack.app_url) as client:
        client.send(head(stack.bearer("u", publish=["*"]), 9 * MB, path))
        answer = told(client)
        assert (answer.status, answer.is_problem, answer.fields["connection"]) == (413, True, "close")
        assert orjson.loads(answer.body)["detail"] == (
            f"The body is larger than {most} bytes, the most that this path takes."
        )


@pytest.mark.parametrize("claims", [None, {}, {"publish": ["*"]}])
def test_who_sends_all_of_it_still_gets_the_answer(
    stack: Stack, base: str, claims: dict[str, list[str]] | None
) -> None:
    bearer = {} if claims is None else stack.bearer("u", **claims)
    size = 20 * MB
    with wire(base) as client:
        client.send(head(bearer, size), *[b"x" * 65536] * (size // 65536))
        answer = told(client)
        ours = 401 if claims is None else 403 if not claims else 413
        assert answer.status == (413 if base == stack.url else ours)  # nginx looks at the size alone
        assert answer.is_problem


def test_one_large_event_follows_from_the_settings(shared: Start) -> None:
    stack = shared(max_event_bytes=3 * MB)
    bearer = stack.bearer(publish=["*"])
    escaped = b'{"user": "u", "data": "' + rb"\u0001" * (3 * MB) + b'"}'
    with wire(stack.app_url) as client:
        client.socket.settimeout(60)
        client.send(head(bearer, len(escaped)) + escaped)
        assert told(client).status == 200


def test_who_sends_slowly_holds_nobody_elses_room(stack: Stack, user: str) -> None:
    """Half of a long body, by the same token twice, on the way to each worker."""
    one, other = stack.bearer(publish=["topic:a"]), stack.bearer(publish=["topic:b"])
    batch = orjson.dumps([{"topic": "b", "data": "x" * 60_000}] * 100)
    with wire(stack.app_url) as first, wire(stack.app_url) as second, wire(stack.app_url) as third:
        for stalled in (first, second):
            stalled.send(head(one, 8 * MB) + b"[" * MB)
        third.send(head(other, len(batch)) + batch)
        answer = told(third)
        assert answer.status == 200
        assert [set(each) for each in orjson.loads(answer.body)["results"]] == [{"id", "duplicate"}] * 100


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"[" + b'{"topic":"a","data":1},' * 50_000 + b"1]", "The batch makes more than 1000 events"),
        (b"[" + b"[]," * 200_000 + b"1]", "The batch makes more than 1000 events"),
        (b'[{"topic":"a","data":[' + b"[]," * 200_000 + b"1]}]", "An event of the batch is over"),
        (b'{"topic":"a","data":[' + b"[]," * 100_000 + b"1]}", "The body holds more than"),
        (b'{"topic":"a","data":"' + b"x" * 7 * MB + b'"}', "The event is "),
    ],
)
def test_long_bodies_are_refused_by_what_they_hold(stack: Stack, body: bytes, detail: str) -> None:
    with wire(stack.app_url) as client:
        client.send(head(stack.bearer(publish=["*"]), len(body)) + body)
        answer = told(client)
        assert (answer.status, orjson.loads(answer.body)["detail"][: len(detail)]) == (413, detail)


def test_a_long_batch_is_what_a_short_one_is(stack: Stack, user: str) -> None:
    items = [{"user": user, "data": f"{number}" + "é" * 200} for number in range(998)]
    raw = orjson.dumps(items)[:-1] + b',{"user":"%b","data":1.10},{"user":"x","user":"y","data":1}]' % user.encode()
    assert len(raw) > 2**18
    with wire(stack.app_url) as client:
        client.send(head(stack.bearer(publish=["*"]), len(raw)) + raw)
        results = orjson.loads(told(client).body)["results"]
    assert [set(each) for each in results] == [{"id", "duplicate"}] * 999 + [{"error"}]
    kept = stack.get("/history", stack.bearer(user), channel=f"user:{user}", limit="1000").json()["events"]
    assert [each["data"] for each in kept] == [item["data"] for item in items] + ["1.10"]
