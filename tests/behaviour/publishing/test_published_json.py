"""An event arrives as it was written: its numbers, its keys, its characters; compressed or not."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushsvc.calls.content_coding import MOST_BYTES, decoded
from pushsvc.errors import Invalid, TooLarge, UnsupportedMedia
from pushsvc.events.event import RESERVED
from pushsvc.events.exact_json import loads_items
from pushsvc.events.publication import Limits, parse_publication
from tests.support.stack import Stack

NUMBERS = [
    "123456789012345678901234567890",
    "-0",
    "-0.0",
    "1.10",
    "1e400",
    "1E5",
    "18446744073709551616",
    "0.1e-7",
    "7",
]


def publish(stack: Stack, body: bytes, base: str | None = None, **headers: str) -> httpx.Response:
    given = stack.bearer(publish=["*"]) | {"Content-Type": "application/json"} | headers
    return httpx.post(f"{base or stack.url}/publish", content=body, headers=given, trust_env=False, timeout=30)


def kept(stack: Stack, user: str) -> list[str]:
    history = stack.get("/history", stack.bearer(user), channel=f"user:{user}").json()
    return [event["data"] for event in history["events"]]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("spelled", ["%s", '{"n": [ %s ],\t"ü": "\\u00fc"}'])
def test_numbers_keep_their_digits(stack: Stack, user: str, number: str, spelled: str) -> None:
    data = spelled % number
    written = data.replace(" ", "").replace("\t", "").replace("\\u00fc", "ü")
    with stack.listen(user) as source:
        one = publish(stack, f'{{"user": "{user}", "data": {data}}}'.encode()).json()
        many = publish(stack, f'[{{"user":"{user}","data":{data}}},{{"user":"{user}","data":7}}]'.encode()).json()
        ids = [one["id"], *(result["id"] for result in many["results"])]
        source.wait_ids(*ids)
        assert [message.data for message in source.messages if message.id in ids] == [written, written, "7"]
    assert kept(stack, user) == [written, written, "7"]


@pytest.mark.parametrize(
    ("item", "says"),
    [
        (r'{"user":"u","data":"\ud83d"}', "data: holds half of a surrogate pair, which is no character."),
        (r'{"user":"u","data":{"a":["\ude00x"]}}', "data: holds half of a surrogate pair, which is no character."),
        (r'{"user":"u","data":{"\ud83d":1}}', "data: holds half of a surrogate pair, which is no character."),
        (r'{"user":"u","data":1,"event":"\ud83d"}', "event: holds half of a surrogate pair, which is no character."),
        (r'{"user":"u","data":1,"key":"\ud83d"}', "key: holds half of a surrogate pair, which is no character."),
        (r'{"user":"u\ud83d","data":1}', "user: must be 1 to 255 characters"),
        (r'{"user":"u","data":1,"\ud83d":1}', r"\ud83d: is not a field of an event."),
        ('{"user":"u","data":1,"data":2}', "An event is refused: 'data' is named twice in one object."),
        ('{"user":"u","data":{"b":{"a":1,"a":1}}}', "data: is refused: 'a' is named twice in one object."),
        ('{"user":"u","data":1,"ttl":60.0}', "ttl: must be a whole number"),
        ('{"user":"u","data":1,"ttl":123456789012345678901234567890}', "ttl: must be a whole number"),
        ('{"user":"u","data":' + "[" * 300 + "]" * 300 + "}", "data: is nested too deeply."),
    ],
)
def test_a_fault_is_that_of_its_item_alone(stack: Stack, base: str, user: str, item: str, says: str) -> None:
    alone = publish(stack, item.encode(), base)
    assert (alone.status_code, alone.headers["content-type"]) == (400, "application/problem+json")
    assert alone.json()["detail"].startswith(says)
    good = f'{{"user":"{user}","data":1.10}}'
    one, bad, two = publish(stack, f"[{good},{item},{good}]".encode(), base).json()["results"]
    assert {*one} == {*two} == {"id", "duplicate"}
    assert bad["error"]["detail"].startswith(says)
    assert kept(stack, user) == ["1.10", "1.10"]


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_the_services_own_event_names_are_refused_at_every_door(stack: Stack, base: str, user: str, name: str) -> None:
    item = json.dumps({"user": user, "data": 1, "event": name})
    many = json.dumps({"users": [user, f"{user}2"], "data": 1, "event": name})
    alone, batch = publish(stack, item.encode(), base), publish(stack, f"[{item},{many}]".encode(), base)
    assert (alone.status_code, [*alone.json()["errors"]]) == (400, ["event"])
    assert [result["error"]["status"] for result in batch.json()["results"]] == [400, 400]
    assert kept(stack, user) == []


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "+1", "01", "1.", ".5", "0x1", "'a'", "[1,]", '"\n"'])
def test_what_is_no_json_is_refused_as_a_whole(stack: Stack, word: str) -> None:
    for body in (f'{{"user":"u","data":{word}}}', f'[{{"user":"u","data":1}},{{"user":"u","data":{word}}}]'):
        answer = publish(stack, body.encode())
        assert (answer.status_code, answer.json()["detail"][:27]) == (400, "The body is not valid JSON:")


def test_a_whole_pair_of_surrogates_is_a_character(stack: Stack, user: str) -> None:
    assert publish(stack, f'{{"user":"{user}","data":["\\ud83d\\ude80",1.10]}}'.encode()).status_code == 200
    assert kept(stack, user) == ['["🚀",1.10]']


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(plain, st.booleans(), st.sampled_from([None, 1]))
def test_any_data_arrives_as_it_was(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps({"user": "u", "data": [value, 0]}, ensure_ascii=ascii_only, indent=indent)
    [event] = parse_publication(loads_items(text.encode()), Limits(2**20, 1)).events
    assert event.data == json.dumps([value, 0], ensure_ascii=False, separators=(",", ":"))
    assert json.loads(event.data) == [value, 0]


# Compressed


def raw_deflate(body: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    return deflate.compress(body) + deflate.flush()


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "X-GZip": lambda body: gzip.compress(body[:5]) + gzip.compress(b"") + gzip.compress(body[5:]),
    "deflate": zlib.compress,
    "DEFLATE": raw_deflate,
    "identity": bytes,
    "": bytes,
    "deflate, gzip": lambda body: gzip.compress(zlib.compress(body)),
    "gzip, identity , gzip": lambda body: gzip.compress(gzip.compress(body)),
}


@pytest.mark.parametrize("coding", CODINGS)
def test_a_compressed_body_is_read(stack: Stack, base: str, user: str, coding: str) -> None:
    body = json.dumps([{"user": user, "data": "x" * 5000}] * 20).encode()
    answer = publish(stack, CODINGS[coding](body), base, **{"Content-Encoding": coding})
    assert (answer.status_code, len(answer.json()["results"])) == (200, 20)
    assert kept(stack, user) == ["x" * 5000] * 20
    ticket = json.dumps({"user": user}).encode()
    headers = stack.bearer(user) | {"Content-Type": "application/json", "Content-Encoding": coding}
    answer = httpx.post(f"{base}/tickets", content=CODINGS[coding](ticket), headers=headers, trust_env=False)
    assert answer.status_code == 200


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, br", "x", "aes128gcm", "gzip;q=1", "*"])
@pytest.mark.parametrize("path", ["/publish", "/tickets", "/ack", "/v1/chat/completions", "/v1/generations"])
def test_a_coding_that_is_not_read_is_a_415(stack: Stack, user: str, path: str, coding: str) -> None:
    headers = stack.bearer(user, publish=["*"]) | {"Content-Type": "application/json", "Content-Encoding": coding}
    answer = httpx.post(f"{stack.url}{path}", content=b"{}", headers=headers, trust_env=False)
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "gzip, deflate")
    assert "Content-Encoding: " in answer.text


def bomb() -> bytes:
    return gzip.compress(b"[" + b"0," * (32 * 2**20), 9)


LATE = gzip.compress(b'{"user":"u","data":1}', mtime=0)
BROKEN: dict[str, tuple[Callable[[], bytes], str, int]] = {
    "bomb": (bomb, "gzip", 413),
    "bomb in a bomb": (lambda: gzip.compress(bomb()), "gzip,gzip", 413),
    "a byte short": (lambda: LATE[:-1], "gzip", 400),
    "without its end": (lambda: LATE[:-8], "gzip", 400),
    "a byte too many": (lambda: LATE + b"x", "gzip", 400),
    "another sum": (lambda: LATE[:-8] + b"\0" * 8, "gzip", 400),
    "more behind it": (lambda: zlib.compress(b"{}") + b"x", "deflate", 400),
    "empty": (lambda: b"", "gzip", 400),
    "plain": (lambda: b'{"user":"u","data":1}', "gzip", 400),
    "plain, called deflate": (lambda: b'{"user":"u","data":1}', "deflate", 400),
    "many members": (lambda: gzip.compress(b"") * 100_000, "gzip", 400),
}


@pytest.mark.parametrize("name", BROKEN)
def test_bombs_and_broken_bodies_are_refused(stack: Stack, name: str) -> None:
    make, coding, status = BROKEN[name]
    body = make()
    answer = publish(stack, body, **{"Content-Encoding": coding})
    assert (answer.status_code, answer.json()["status"]) == (status, status)


def test_the_bound_is_that_of_the_path_and_codings_are_few() -> None:
    body = gzip.compress(b"x" * 1000)
    assert decoded(body, "gzip", 1000) == b"x" * 1000
    with pytest.raises(TooLarge):
        decoded(body, "gzip", 999)
    with pytest.raises(TooLarge):
        decoded(gzip.compress(bytes(MOST_BYTES + 1)), "gzip", 2 * MOST_BYTES)
    with pytest.raises(UnsupportedMedia):
        decoded(body, "gzip," * 4, 1000)


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate"]))
def test_any_bytes_are_decoded_or_refused(body: bytes, coding: str) -> None:
    try:
        decoded(body, coding, 1000)
    except (Invalid, TooLarge):
        pass
