"""The short way and Flask give the same answers: status, headers and bytes, over a few thousand generated requests."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from typing import Final

import pytest

from pushsvc import auth
from tests.support.clients.fuzzing.generated import Generator
from tests.support.clients.wire import wire
from tests.support.gunicorn import gunicorn
from tests.support.stack import SECRET, Stack

REQUESTS: Final = 1500  # in each of two runs


def sent_to(door: str, raw: bytes, claims: dict[str, object]) -> bytes:
    """The request with the door's name, which is as long as any other door's."""
    token = auth.encode(json.loads(json.dumps(claims).replace("@", door)), SECRET, ttl=None)
    return raw.replace(b"TOKEN", f"Authorization: Bearer {token}".encode()).replace(b"@", door.encode())


def fixed(raw: bytes, door: str) -> bytes:
    """The length of the body as it is once the door's name stands in it."""
    head, _, body = raw.partition(b"\r\n\r\n")
    grown = (len(door) - 1) * body.count(b"@")
    if b"Transfer-Encoding" in head:
        size, rest = body.split(b"\r\n", 1)
        body = b"%x\r\n%b" % (int(size, 16) + grown if int(size, 16) else 0, rest)
    head = re.sub(rb"(?<=\nContent-Length: )\d+", lambda match: b"%d" % (int(match[0]) + grown), head)
    return head + b"\r\n\r\n" + body


def told(base: str, door: str, raw: bytes, claims: dict[str, object]) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and bytes of the answer, without what differs from one request to the next. Of a stream: its
    first block."""
    with wire(base) as client:
        client.send(sent_to(door, fixed(raw, door), claims))
        while (answer := client.answer(raw.partition(b" ")[0].decode(), until=b"\n\n")) and answer.status == 100:
            pass
    assert answer is not None, raw
    fields = {name: _plain(value.encode(), door).decode() for name, value in answer.fields.items() if name != "date"}
    if "allow" in fields:
        fields["allow"] = str(sorted(fields["allow"].split(", ")))  # Flask has them in a set
    if "content-length" in fields:
        fields["content-length"] = str(len(answer.body))  # the names of the doors count in it
    assert re.fullmatch("[0-9a-f]{32}", fields.pop("x-request-id")), "each request is named, and none brought a name"
    return answer.status, sorted(fields.items()), _plain(answer.body, door)


def _plain(said: bytes, door: str) -> bytes:
    said = said.replace(door.encode(), b"@")
    said = re.sub(rb"\b(\d{13}|0)-\d+", b"ID", said)
    return re.sub(rb"retry: \d+", b"retry: N", said)


@pytest.fixture(scope="module")
def doors(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The stack's worker, and one that passes everything through Flask because it logs requests."""
    folder = tmp_path_factory.mktemp("flask")
    log = folder / "access.log"
    words = ["--config", "pushsvc/server/gunicorn_conf.py", "--workers", "1", "--access-logfile", str(log)]
    with gunicorn(stack, folder, *words) as url:
        yield stack.app_url, url
    assert "/publish" in log.read_text()


@pytest.mark.parametrize("seed", [1, 2])
def test_both_doors_answer_the_same(doors: tuple[str, str], seed: int) -> None:
    names = tuple(f"{letter}{uuid.uuid4().hex[:8]}" for letter in "ab")
    generator = Generator(seed)
    statuses: dict[int, int] = {}
    for _ in range(REQUESTS):
        raw, claims = generator.request(), generator.claims()
        short, flask = (told(base, name, raw, claims) for base, name in zip(doors, names, strict=True))
        assert short == flask, (raw, claims)
        statuses[short[0]] = statuses.get(short[0], 0) + 1
    assert statuses.keys() >= {200, 400, 401, 403, 413, 415}, "or the requests are no longer of all kinds"


def test_both_doors_take_a_request_id_that_is_well_formed(doors: tuple[str, str]) -> None:
    good = ("order-7/a.b:c+d=@~_", "a" * 128)
    for path in ("/publish", "/events", "/nothing"):
        for given in (*good, "a" * 129, "a b", "a;b", "\xe9", ""):
            ids = [named(base, path, given) for base in doors]
            assert (given in ids) is (given in good)
            assert (ids[0] == ids[1]) is (given in good)


def named(base: str, path: str, given: str) -> str:
    with wire(base) as client:
        client.send(f"POST {path} HTTP/1.1\r\nHost: a\r\nX-Request-Id: {given}\r\n\r\n".encode("latin-1"))
        answer = client.answer("POST")
    assert answer is not None
    return answer.fields["x-request-id"]
