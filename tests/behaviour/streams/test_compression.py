"""PUSHSVC_COMPRESS_STREAMS: streams do compressed what they do otherwise; each event can be read when it has come."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from collections.abc import Callable, Iterator

import httpx
import pytest
import zstandard
from playwright.sync_api import Page

from tests.support.behaviour import marked, settings
from tests.support.models.model import HEAD, Conversation, Model
from tests.support.stack import Stack

globals().update(marked("every_redis"))  # whose client takes gzip


@pytest.fixture(scope="module")
def stack(_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("compressed"), compress_streams="on", **settings(_model))
    yield running
    running.stop()
    assert "Traceback" not in running.output, running.output


def _decoder(coding: str) -> Callable[[bytes], bytes]:
    if coding == "gzip":
        gunzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
        return lambda piece: gunzip.decompress(piece)
    if coding == "zstd":
        frames = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
        return lambda piece: frames.decompress(piece)
    return lambda piece: piece


def heard(stack: Stack, user: str, accepted: str, expected: str, count: int) -> None:
    """A stream in this coding: each event is decoded before the next is published."""
    headers = stack.bearer(user) | {"Accept-Encoding": accepted}
    with httpx.stream("GET", f"{stack.url}/events?ack=manual", headers=headers, trust_env=False) as answer:
        assert answer.headers.get("content-encoding", "") == expected
        assert "Accept-Encoding" in answer.headers.get_list("vary")
        raw = answer.iter_raw()
        decode = _decoder(expected)
        text = decode(next(raw))
        assert b"event: cursor" in text
        for number in range(count):
            event_id = stack.publish(user=user, data=f"number {number}").encode()
            while event_id not in text:
                text += decode(next(raw))
            assert text.endswith(b"\n\n")


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "gzip"),
        ("zstd", "zstd"),
        ("zstd;q=1.0, gzip;q=0.5", "zstd"),
        ("*", "gzip"),
        ("br", ""),
        ("gzip;q=0", ""),
        ("identity;q=1, gzip;q=0.5", ""),
        ("identity", ""),
    ],
)
def test_each_event_can_be_read_at_once(stack: Stack, user: str, accepted: str, expected: str) -> None:
    heard(stack, user, accepted, expected, 5)


def test_a_crowd_with_different_codings(stack: Stack, user: str) -> None:
    """All are on one channel, with and without a coding, and all hear all."""
    everybody = [f"{user}-{number}" for number in range(6)]
    codings = ("gzip", "zstd", "identity")
    streams = [
        stack.listen(each, f"?topics={user}", headers={"Accept-Encoding": codings[number % 2 * 2]})
        for number, each in enumerate(everybody)
    ]
    ids = stack.publish_many([{"topic": user, "data": {"number": number}} for number in range(50)])
    for stream in streams:
        stream.wait_ids(*ids)
        stream.close()


def test_a_browser(stack: Stack, page: Page, user: str) -> None:
    page.goto(stack.page("/"))
    ticket = stack.post("/tickets", {"user": user}, stack.bearer(subscribe=["*"])).json()
    page.evaluate(
        """url => {
            window.texts = [];
            window.source = new EventSource(url);
            window.source.onmessage = event => window.texts.push(event.data);
            window.source.addEventListener("cursor", () => { window.ready = true; });
        }""",
        ticket["url"],
    )
    page.wait_for_function("() => window.ready")
    for number in range(3):
        stack.publish(user=user, data=f"text {number}")
        page.wait_for_function("text => window.texts.includes(text)", arg=f"text {number}")


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_an_answer_ends_as_it_should(stack: Stack, model: Model, coding: str) -> None:
    words = [f"word{number} " for number in range(200)]

    def talk(conversation: Conversation) -> None:
        conversation.send(HEAD)
        for word in words:
            conversation.say(word)
        conversation.done()

    model.script = talk
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    headers = stack.bearer("ada") | {"Accept-Encoding": coding}
    url = f"{stack.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, headers=headers, trust_env=False) as answer:
        assert answer.headers["content-encoding"] == coding
        coded = b"".join(answer.iter_raw())
    text = (
        gzip.decompress(coded) if coding == "gzip" else zstandard.ZstdDecompressor().decompressobj().decompress(coded)
    )
    assert text.endswith(b"data: [DONE]\n\n")
    lines = [line[6:] for line in text.decode().splitlines() if line.startswith("data: {")]
    said = "".join(json.loads(line)["choices"][0]["delta"].get("content", "") for line in lines)
    assert said == "".join(words)


def test_http_1_0(stack: Stack, user: str) -> None:
    event_id = stack.publish(user=user, data="kept")
    host, port = str(stack.settings["app"]).split(":")
    bearer = stack.bearer(user)["Authorization"]
    with socket.create_connection((host, int(port)), 30) as client:
        client.sendall(f"GET /events HTTP/1.0\r\nAuthorization: {bearer}\r\nAccept-Encoding: gzip\r\n\r\n".encode())
        got = b""
        while b"\r\n\r\n" not in got:
            got += client.recv(65536)
        head, _, coded = got.partition(b"\r\n\r\n")
        assert b"Content-Encoding: gzip" in head
        decode = zlib.decompressobj(16 + zlib.MAX_WBITS)
        text = decode.decompress(coded)
        while event_id.encode() not in text:
            text += decode.decompress(client.recv(65536))
