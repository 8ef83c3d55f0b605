"""Data that the relay only passes on keeps its digits and its characters: questions, chunks, snapshots, what is
kept."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from pushsvc.errors import Invalid
from pushsvc.events import exact_json, sse
from pushsvc.llm import request
from pushsvc.llm.formats import openai
from tests.support.clients.eventsource import EventSource, until
from tests.support.models.completions import PATH
from tests.support.models.model import HEAD, Conversation, Model
from tests.support.stack import Stack

DIGITS = ["123456789012345678901234567890", "-0", "1.10", "18446744073709551616", "1e400", "-1E-400", "0.1e+1", "1.0"]
MESSAGES = b'"messages":[{"role":"user","content":"q"}]'


def asked(stack: Stack, user: str, body: bytes, path: str = PATH, **headers: str) -> httpx.Response:
    bearer = stack.bearer(user) | {"Content-Type": "application/json"} | headers
    return httpx.post(stack.url + path, content=body, headers=bearer, trust_env=False, timeout=30)


@pytest.mark.parametrize("digits", DIGITS)
@pytest.mark.parametrize(
    ("more", "members"),
    [
        (b"", {"stream": True}), (b', "on_disconnect": "cancel"', {"stream": True}), (b"", {"model": "m"}),
        (b',"on_disconnect":"continue"', {"model": "m"}),
    ],
)  # fmt: skip
def test_a_question_keeps_its_digits(digits: str, more: bytes, members: dict[str, Any]) -> None:
    """It keeps them even where something is taken out or put in."""
    raw = b'{%b,"seed":%b,"metadata":{"n":[%b]}%b}' % (MESSAGES, digits.encode(), digits.encode(), more)
    passed = request.parse(raw, **({"model": ""} | members)).body
    assert b'"seed":%b,' % digits.encode() in passed
    assert b'"n":[%b]' % digits.encode() in passed
    assert b"on_disconnect" not in passed
    assert (b'"stream":true' in passed) == ("stream" in members)
    assert (b'"model":"m"' in passed) == ("model" in members)


def test_a_question_that_needs_no_change_passes_as_it_came() -> None:
    raw = b'{ "model" : "x",\n %b, "a": 1.50, "b": "\\u00fc", "stream": true }' % MESSAGES
    twice = b'{"messages":[{"role":"user","content":"q","x":1,"x":2}],"stream":true}'
    assert request.parse(twice, model="m").body == twice[:-1] + b',"model":"m"}'
    for stream in (None, True):
        assert request.parse(raw, model="m", stream=stream).body == raw
    unnamed = request.parse(b'{%b,"model":""}' % MESSAGES, model="m")  # as if no model were given
    assert (unnamed.body, unnamed.about.model) == (b'{%b,"model":"m"}' % MESSAGES, "m")
    assert request.parse(b'{%b,"model":""}' % MESSAGES, model="").body == b"{%b}" % MESSAGES
    assert request.parse(b'{%b,"n":3}' % MESSAGES, model="").choices == 3
    for n in (b"null", b"0", b'"2"', b"1.5", b"-1"):
        assert request.parse(b'{%b,"n":%b}' % (MESSAGES, n), model="").choices == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{%b,"seed":1,"seed":2}' % MESSAGES, "'seed' is named twice"),
        (b'{"messages":[{"role":"user","content":"a\\ud83d"}]}', "half of a surrogate pair"),
        (b'{%b,"metadata":{"\\ude80":1}}' % MESSAGES, "half of a surrogate pair"),
        (b'{%b,"x":NaN}' % MESSAGES, "not valid JSON"),
    ],
)
def test_what_no_question_can_be(body: bytes, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        request.parse(body, model="")


def test_a_whole_character_is_no_half(answering: Stack, user: str, model: Model) -> None:
    body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"\\ud83d\\ude80"}]}'
    assert asked(answering, user, body).status_code == 200
    assert model.asked().body.startswith(body[:-1])
    refused = asked(answering, user, body.replace(b"\\ude80", b""))
    assert refused.status_code == 400
    assert refused.json()["error"]["type"] == "invalid_request_error"
    assert len(model.conversations) == 1


def chunk(content: bytes, seq: str) -> bytes:
    return (
        b'{"id":"c1","created":1,"seq":%b,"seq":%b,"choices":[{"index":0,"delta":{"content":"%b"},'
        b'"finish_reason":null}]}' % (seq.encode(), seq.encode(), content)
    )


@pytest.mark.parametrize("digits", DIGITS)
def test_chunks_that_are_joined_keep_their_digits(digits: str) -> None:
    """They keep doubled keys, too: all but the text stays as it came."""
    parsed = [
        openai.parse(chunk(word, digits)) for word in (b"a", b"\\u00fc\\n", "🚀".encode(), b"\\ud83d", b"\\ude80")
    ]
    whole = chunk("a\\u00fc\\n🚀\\ud83d\\ude80".encode(), digits)
    assert openai.frames(parsed) == [sse.data_frame(whole)]
    other = openai.parse(chunk(b"b", digits.replace("0", "7")))
    assert len(openai.frames([parsed[0], other])) == 2


def test_what_looks_like_text_and_is_not() -> None:
    odd = [b'{"choices":[{"delta":{"content":"a"}}],"x":{"content":"%b"}}' % each for each in (b"1", b"2")]
    assert openai.frames([openai.parse(raw) for raw in odd]) == [sse.data_frame(raw) for raw in odd]


def told(body: str) -> list[str]:
    return [line.removeprefix("data: ") for line in body.split("\n") if line.startswith("data: ")]


@pytest.mark.parametrize("digits", DIGITS)
def test_answers_keep_their_digits(answering: Stack, user: str, model: Model, digits: str) -> None:
    """Streamed, in a snapshot, to a repeated key, in the state, and in what is asked whole."""
    one = b'{"id":"c1","n":%b,"choices":[{"index":0,"delta":{"content":"x"},"p":%b,"finish_reason":null}]}'
    one = one.replace(b"%b", digits.encode())
    stop = one.replace(b'{"content":"x"}', b"{}").replace(b"null", b'"stop"')

    def script(conversation: Conversation) -> None:
        conversation.send(HEAD).chunk(b"data: %b\n\n" % one)
        conversation.hung_up.wait(0.2)
        conversation.chunk(b"data: %b\n\ndata: %b\n\ndata: [DONE]\n\n" % (one, stop)).send(b"0\r\n\r\n")

    model.script = script
    body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":[{"type":"x","n":%b}]}]}' % digits.encode()
    answer = asked(answering, user, body, **{"Idempotency-Key": digits})
    assert told(answer.text) == [one.decode(), one.decode(), stop.decode(), "[DONE]"]
    generation_id = answer.headers["x-generation-id"]
    again = asked(answering, user, body.replace(b"true", b"false"), **{"Idempotency-Key": digits})
    state = answering.get(f"/v1/generations/{generation_id}", answering.bearer(user), include="messages")
    url = state.json()["url"]
    snapshot = told(httpx.get(answering.url + url, trust_env=False).text)[0]
    listed = answering.get("/v1/generations", answering.bearer(user), include="messages")
    for text in (again.text, snapshot):
        assert f'"n":{digits}' in text
        assert f'"p":{digits}' in text
        assert '"xx"' in text
    for text in (state.text, listed.text):
        assert f'"p":{digits}' in text
        assert f'"type":"x","n":{digits}' in text
    whole = b'{"n":%b,"choices":[{"message":{"content":"x"},"finish_reason":"stop","p":%b}]}'.replace(
        b"%b", digits.encode()
    )
    model.script = lambda c: c.answer("200 OK", whole)
    assert asked(answering, user, body.replace(b"true", b"false")).content == whole
    streamed = asked(answering, user, body)
    assert f'"n":{digits}' in told(streamed.text)[0]
    assert f'"p":{digits}' in told(streamed.text)[0]


def test_half_a_character_in_one_chunk_and_half_in_the_next(answering: Stack, user: str, model: Model) -> None:
    halves = [
        b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % each for each in (rb"a\ud83d", rb"\ude80b")
    ]
    model.script = lambda c: c.send(HEAD).chunk(halves[0])
    begun = asked(answering, user, b'{"model":"m",%b}' % MESSAGES, "/v1/generations").json()
    conversation = model.asked()
    with EventSource(answering.url + begun["url"]).wait_open() as late:
        late.wait_for(1)
        until(lambda: r"\ud83d" in answering.get(f"/v1/generations/{begun['id']}", answering.bearer(user)).text, "half")
        conversation.chunk(halves[1]).done()
        late.wait(lambda each: "[DONE]" in each.data, "the end")
        words = [json.loads(each.data) for each in late.messages if each.data != "[DONE]"]
    said = "".join(each["choices"][0]["delta"].get("content", "") for each in words)
    assert exact_json.paired(said) == "a🚀b"
    state = answering.get(f"/v1/generations/{begun['id']}", answering.bearer(user)).json()
    assert (state["state"], state["text"]) == ("completed", "a🚀b")
