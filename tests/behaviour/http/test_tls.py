"""TLS in gunicorn: requests are read as on a plain connection, also where several come in one record."""

from __future__ import annotations

import socket
import ssl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import pytest

from tests.support.clients.fuzzing import smuggled
from tests.support.clients.wire import Wire, request
from tests.support.deployment import certificate
from tests.support.gunicorn import gunicorn
from tests.support.stack import Stack

HEALTH = request("GET /healthz")


@pytest.fixture(scope="module")
def secure(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("tls")
    key, cert = map(str, certificate(folder))
    words = "--config", "pushsvc/server/gunicorn_conf.py", "--certfile", cert, "--keyfile", key
    with gunicorn(stack, folder, *words, scheme="https") as url:
        yield url.removeprefix("https://")


@contextmanager
def wire(address: str) -> Iterator[Wire]:
    host, port = address.split(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((host, int(port)), timeout=40) as plain,
        context.wrap_socket(plain) as client,
    ):
        made = Wire(client)
        yield made
        made.close()


def publication(stack: Stack, user: str, data: str, *, chunked: bool = False) -> bytes:
    body = orjson.dumps({"user": user, "data": data})
    fields = "Content-Type: application/json", f"Authorization: {stack.bearer(publish=['*'])['Authorization']}"
    if not chunked:
        return request("POST /publish", *fields, body=body)
    return request("POST /publish", *fields, "Transfer-Encoding: chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (
        len(body),
        body,
    )


def statuses(client: Wire, count: int) -> list[int]:
    return [answer.status for _ in range(count) if (answer := client.answer())]


@pytest.mark.parametrize("size", [1, 100, 16_384, 10**6])
def test_many_requests_in_any_records(stack: Stack, secure: str, user: str, size: int) -> None:
    asked = [
        publication(stack, user, "-", chunked=number % 2 == 0) + HEALTH for number in range(3 if size == 1 else 50)
    ]
    said = b"".join(asked)
    with wire(secure) as client:
        client.send(*(said[place : place + size] for place in range(0, len(said), size)))
        assert statuses(client, 2 * len(asked)) == [200] * (2 * len(asked))
        client.send(HEALTH)
        assert statuses(client, 1) == [200]


def test_bodies_larger_than_a_record(stack: Stack, secure: str, user: str) -> None:
    with wire(secure) as client:
        items = [{"user": user, "data": "x" * 1000} for _ in range(500)]
        bearer = stack.bearer(publish=["*"])["Authorization"]
        fields = "Content-Type: application/json", f"Authorization: {bearer}"
        for _ in range(2):
            client.send(request("POST /publish", *fields, body=orjson.dumps(items)))
            assert statuses(client, 1) == [200]
        client.send(request("POST /healthz", body=b"x" * 500_000), HEALTH)
        assert statuses(client, 2) == [405, 200]


def test_who_asks_first_is_told_to_go_on(stack: Stack, secure: str, user: str) -> None:
    head, _, body = publication(stack, user, "-").partition(b"\r\n\r\n")
    with wire(secure) as client:
        client.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert statuses(client, 1) == [100]
        client.send(body)
        assert statuses(client, 1) == [200]


@pytest.mark.parametrize("case", ["twice", "plus", "folded", "behind a bare LF", "space before the colon"])
def test_nothing_is_smuggled(stack: Stack, secure: str, user: str, case: str) -> None:
    word = uuid.uuid4().hex
    bearer = stack.bearer(publish=["*"])["Authorization"]
    for each in smuggled.LENGTHS[case]:
        for carrier in smuggled.carriers(bearer):
            with wire(secure) as client:
                client.send(smuggled.filled(each, carrier, publication(stack, user, word)))
                [only] = client.answers()
                assert only.is_problem
    stack.publish(user=user, data="after")
    assert [event["data"] for event in stack.kept(user)] == ["after"]
