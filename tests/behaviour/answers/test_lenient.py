"""The relay reads what OpenAI's own clients read: answers of servers that are not quite as they should be."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import openai
import pytest

from tests.support.clients.eventsource import EventSource
from tests.support.models.chunks import CHUNKS, DONE, STOP, kept, members, said
from tests.support.models.completions import ask, data, text
from tests.support.models.model import HEAD, Conversation, Model, event, silent
from tests.support.stack import Stack

STREAM = event("all ") + event("of it") + STOP + DONE
WHOLE = json.dumps(
    {"choices": [{"index": 0, "message": {"role": "assistant", "content": "all of it"}, "finish_reason": "stop"}]}
).encode()


def head(*lines: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", "Connection: close", *lines, "", ""]).encode()


TYPES = [
    [], ["text/plain"], ["application/json"], ["application/json, text/event-stream; charset=utf-8"],
    ["application/json", "text/event-stream"], ["text/event-stream", "application/json"], ["application/vnd.x+json"],
    ["application/x-ndjson"], ["TEXT/EVENT-STREAM"], ["text/html"], ["binary/octet-stream"],
]  # fmt: skip


@pytest.mark.parametrize("types", TYPES, ids=" + ".join)
@pytest.mark.parametrize("body", [STREAM, WHOLE])
def test_whatever_the_type_says(answering: Stack, user: str, model: Model, types: list[str], body: bytes) -> None:
    """The answer is told as it was asked for, streamed or whole, whatever its Content-Type says."""
    model.script = lambda c: c.send(head(*(f"Content-Type: {each}" for each in types)) + body).close()
    for stream in (True, False):
        assert said(answering, user, stream=stream) == "all of it"


FRAMED = b"data: %b\n\ndata: [DONE]\n\n" % WHOLE  # a stream of one event, which is all of the answer
CHUNK = WHOLE.replace(b'"message"', b'"delta"')  # the other way round


@pytest.mark.parametrize(
    "body", [b"\n : hello\n\n" + STREAM, b"\xef\xbb\xbf" + STREAM, b" \r\n" + WHOLE, FRAMED, CHUNK]
)
@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
def test_whatever_it_begins_with(answering: Stack, user: str, model: Model, kind: str, body: bytes) -> None:
    model.script = lambda c: c.send(head(f"Content-Type: {kind}") + body).close()
    for stream in (True, False):
        assert said(answering, user, stream=stream) == "all of it"


def deflate(body: bytes) -> bytes:
    return zlib.compress(body, wbits=-15)


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("Deflate", deflate),
        ("GZIP", members),
    ],
)
@pytest.mark.parametrize("body", [STREAM, WHOLE])
def test_packed_although_nobody_asked(
    answering: Stack, user: str, model: Model, name: str, pack: Callable[[bytes], bytes], body: bytes
) -> None:
    def script(conversation: Conversation) -> None:
        conversation.send(head(f"Content-Encoding: {name}"))
        for byte in pack(body):
            conversation.send(bytes([byte]))
        conversation.close()

    model.script = script
    for stream in (True, False):
        assert said(answering, user, stream=stream) == "all of it"


def test_what_unpacks_without_end(answering: Stack, user: str, model: Model) -> None:
    body = gzip.compress(b": %b\n\n" % (b"x" * 1000) * 40_000)
    for encoding, code in (
        ("gzip", "upstream_too_long"),
        ("br", "upstream_malformed"),
        ("deflate, gzip", "upstream_malformed"),
    ):
        lines = head(f"Content-Encoding: {encoding}", "Content-Type: text/event-stream")
        model.script = lambda c, lines=lines: c.send(lines + body).close()  # type: ignore[misc]
        assert kept(answering, user, ask(answering, user, stream=True))["error"]["code"] == code


@pytest.mark.parametrize("what", CHUNKS)
def test_chunks_that_say_little(answering: Stack, user: str, model: Model, what: str) -> None:
    odd = b"data: %b\n\n" % CHUNKS[what]
    body = odd + event("all ") + odd + event("of it") + odd + STOP + odd + b"data:  [DONE] \n\n"
    model.script = lambda c: c.send(HEAD).chunk(body).send(b"0\r\n\r\n")
    for stream in (True, False):
        assert said(answering, user, stream=stream) == "all of it"


def test_an_image_in_one_chunk(answering: Stack, door: str, user: str, model: Model) -> None:
    """The chunk is larger than what a slow reader may fall behind. Listeners get it, and so do those who come late."""
    image = b'{"choices":[{"index":0,"delta":{"images":[{"index":0,"image_url":{"url":"%b"}}]}}]}' % (b"x" * 1_500_000)
    model.script = lambda c: c.send(HEAD).say("a")
    bearer = answering.bearer(user)
    begun = answering.post("/v1/generations", {"messages": [{"role": "user", "content": "q"}]}, bearer).json()
    conversation = model.asked()
    with EventSource(door + begun["url"]).wait_open() as source:
        source.wait_for(1)
        conversation.chunk(b"data: %b\n\n" % image).say("b").done()
        source.wait(lambda each: "[DONE]" in each.data, "the end")
        assert text([json.loads(each.data) for each in source.messages[:-1]]) == "ab"
        assert max(len(each.data) for each in source.messages) > 1_500_000
    with EventSource(door + begun["url"]).wait_open() as late:
        late.wait(lambda each: "[DONE]" in each.data, "the end")
        assert len(late.messages[0].data) > 1_500_000


def test_the_official_client_reads_what_we_make_of_it(answering: Stack, user: str, model: Model) -> None:
    client = openai.OpenAI(base_url=f"{answering.url}/v1", api_key=answering.token(user), max_retries=0)
    model.script = lambda c: c.answer("200 OK", WHOLE, "text/plain")
    question: Any = {"model": "m", "messages": [{"role": "user", "content": "q"}]}
    stream = client.chat.completions.create(**question, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "all of it"
    model.script = lambda c: c.send(head() + STREAM).close()
    assert client.chat.completions.create(**question).choices[0].message.content == "all of it"


def test_a_null_in_an_error_leaves_what_we_say(answering: Stack, user: str, model: Model) -> None:
    error = b'data: {"error":{"message":"m","type":null,"code":"500","n":1.10}}\n\n'
    model.script = lambda c: c.send(HEAD).say("a").chunk(error)
    answer = ask(answering, user, stream=True)
    assert data(answer.text)[-2]["error"] == {"message": "m", "type": "upstream_error", "code": "500", "n": 1.1}
    assert '"n":1.10' in answer.text
    body = b'{"error":{"message":"m","type":null}}'
    model.script = lambda c: c.answer("500 Oh", body)
    answer = ask(answering, user, stream=True)
    assert (answer.status_code, answer.content) == (500, body)
    assert kept(answering, user, answer)["error"]["type"] == "upstream_error"


def test_a_whole_answer_of_which_only_the_framing_is_cut(answering: Stack, user: str, model: Model) -> None:
    model.script = lambda c: c.send(head("Content-Length: 9999") + WHOLE).close()
    assert said(answering, user, stream=False) == "all of it"
    model.script = silent


def test_numbers_that_only_python_knows_are_null(answering: Stack, user: str, model: Model) -> None:
    """Log probabilities may be infinite, and some servers write that; OpenAI's client in Python reads it."""
    chunk = event("a").replace(
        b'"finish_reason"', b'"logprobs": {"content": [{"logprob": -Infinity}, {"x": NaN}]}, "f"'
    )
    document = WHOLE.replace(b'"index"', b'"logprobs":{"content":[{"logprob":-Infinity},{"x":NaN}]}, "index"')
    expected = {"content": [{"logprob": None}, {"x": None}]}
    for stream in (True, False):
        for body in (chunk + STOP + DONE, document, b"data: " + document + b"\n\n"):
            model.script = _closing(head() + body)
            answer = ask(answering, user, stream=stream)
            assert kept(answering, user, answer)["choices"][0]["logprobs"] == expected
            told = data(answer.text)[0] if stream else answer.json()
            assert told["choices"][0]["logprobs"] == expected


def _closing(response: bytes) -> Callable[[Conversation], object]:
    return lambda conversation: conversation.send(response).close()


@pytest.mark.parametrize(
    ("said", "body", "told"),
    [
        (b"Content-Type: text/x; a=b", b"no", "text/x; a=b"),
        (b"X: y", b'{"error": {}}', "application/json"),
        (b"Content-Type:", b"no", "text/plain; charset=utf-8"),
        (b"Content-Type: text/" + b"x" * 50_000, b"no", "text/plain; charset=utf-8"),
        ("Content-Type: text/ü".encode(), b"no", "text/plain; charset=utf-8"),
    ],
)
def test_the_type_of_a_refusal(answering: Stack, user: str, model: Model, said: bytes, body: bytes, told: str) -> None:
    """A type that nginx has no room for must not cost the whole answer."""
    model.script = _closing(b"HTTP/1.1 400 No\r\nConnection: close\r\n%b\r\n\r\n%b" % (said, body))
    for stream in (True, False):
        answer = ask(answering, user, stream=stream)
        assert (answer.status_code, answer.headers["content-type"], answer.content) == (400, told, body)
        assert kept(answering, user, answer)["state"] == "upstream_error"
