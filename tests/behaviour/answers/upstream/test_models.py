"""The models that there are, the paths, and what of the model's head reaches who asked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.models.completions import PATH, ask, data, reset, sdk, text
from tests.support.models.model import HEAD, Conversation, Model, plain
from tests.support.stack import Stack

LIST = b'{ "object":"list", "data":[{"id":"m/1","object":"model","created":1.10,"owned_by":"x"}] }'


def test_the_model_s_list(answering: Stack, user: str, model: Model) -> None:
    model.script = lambda c: c.answer("200 OK", LIST, "application/json", "X-Request-Id: r1")
    answer = answering.get("/v1/models", answering.bearer(user))
    assert (answer.status_code, answer.content) == (200, LIST)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"] == "r1"
    asked = model.asked()
    assert (asked.headers[":path"], asked.headers["authorization"]) == ("/v1/models", "Bearer a-test-key")
    assert [each.id for each in sdk(answering, user).models.list()] == ["m/1"]
    answering.get("/v1/models/m/1 x", answering.bearer(user))
    assert model.asked(3).headers[":path"] == "/v1/models/m/1%20x"


def test_a_trace_goes_on_at_the_model(answering: Stack, user: str, model: Model) -> None:
    trace = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "a=b,c=d"}
    model.script = plain
    for number, headers in enumerate((trace, trace | {"traceparent": "00-0-0-0"}, {}), 1):
        answering.post(PATH, {"messages": [{"role": "user", "content": "?"}]}, answering.bearer(user) | headers)
        heard = model.asked(number).headers
        expected = trace if headers == trace else {}
        assert {name: heard[name] for name in trace if name in heard} == expected


def test_who_may_ask_for_it(answering: Stack, model: Model) -> None:
    for path in ("/v1/models", "/v1/models/x"):
        assert httpx.get(answering.url + path, trust_env=False).status_code == 401
    assert not model.conversations


FAILURES: dict[str, tuple[Callable[[Conversation], object], int, str]] = {
    "refused": (lambda c: c.answer("401 No", b'{"error":{"message":"no","code":"k"}}'), 502, "k"),
    "closed": (Conversation.close, 502, "upstream_closed"),
    "reset": (reset, 502, "upstream_closed"),
    "half": (lambda c: c.send(HEAD).chunk(LIST[:9]).close(), 502, "upstream_closed"),
    "too long": (lambda c: c.send(HEAD).chunk(b" " * 5_000_000), 502, "upstream_too_long"),
}


@pytest.mark.parametrize("what", FAILURES)
def test_a_list_that_does_not_come(answering: Stack, user: str, model: Model, what: str) -> None:
    model.script, status, code = FAILURES[what]
    answer = answering.get("/v1/models", answering.bearer(user))
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_page_is_not_shown_as_ours(answering: Stack, user: str, model: Model) -> None:
    model.script = lambda c: c.answer("404 No", b"<script>alert(1)</script>", "text/html")
    answer = answering.get("/v1/models", answering.bearer(user))
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/plain; charset=utf-8")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_mock_lists_itself(stack: Stack, user: str) -> None:
    client = sdk(stack, user)
    assert [each.id for each in client.models.list()] == ["mock"]
    assert client.models.retrieve("mock").id == "mock"
    unknown = stack.get("/v1/models/other", stack.bearer(user))
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/embeddings", "/v1/completions", "/v1/responses/", "/v1/", "/v1/v1/chat/completions",
        "/chat/completions", "/openai/v1/chat/completions", "/v1/chat/completions/", "/models", "/v1/audio/speech",
    ],
)  # fmt: skip
def test_paths_of_openai_s_that_are_not_there(stack: Stack, user: str, path: str) -> None:
    answer = stack.post(path, {}, stack.bearer(user))
    assert answer.status_code == 404, answer.text
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("not_found_error", "not_found")
    for each in ("POST /v1/chat/completions", "GET /v1/models"):
        assert each in error["message"]


PASSED = {
    "x-request-id": "r1",
    "x-ratelimit-remaining-tokens": "7",
    "retry-after-ms": "250",
    "retry-after": "1",
    "x-should-retry": "false",
    "openai-processing-ms": "12",
}
DROPPED = {"set-cookie": "a=b", "server": "s", "x-accel-redirect": "/x", "x-request-idx": "1", "access-control-x": "*"}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("status", ["200 OK", "429 Too Many"])
def test_headers_that_concern_the_caller(answering: Stack, user: str, model: Model, stream: bool, status: str) -> None:
    lines = [f"{name}: {value}" for name, value in (PASSED | DROPPED).items()]

    def script(conversation: Conversation) -> None:
        if stream and status == "200 OK":
            conversation.send(HEAD.replace(b"\r\n\r\n", "\r\n".join(["", *lines, "", ""]).encode())).say("a").done()
        else:
            body = b'{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}'
            conversation.answer(status, body, "application/json", *lines)

    model.script = script
    headers = ask(answering, user, stream=stream).headers
    assert {name: headers.get(name) for name in PASSED} == PASSED
    for name, value in DROPPED.items():
        assert headers.get(name) != value


def test_headers_have_bounds(answering: Stack, user: str, model: Model) -> None:
    """Nothing in them ends a header or a head."""
    lines = [f"x-ratelimit-{number}: {number}" for number in range(100)] + ["openai-long: " + "x" * 3000]
    lines += ["openai-latin: \xe9", "openai-tab: a\tb"]
    head = HEAD.replace(b"\r\n\r\n", "\r\n".join(["", *lines, "", ""]).encode("latin-1"))
    model.script = lambda c: c.send(head).say("a").done()
    answer = ask(answering, user, stream=True)
    assert text(data(answer.text)) == "a"
    passed = [name for name in answer.headers if name.startswith(("x-ratelimit-", "openai-"))]
    assert 10 <= len(passed) <= 40
    assert not [name for name in passed if name.startswith("openai-")]


def test_headers_fit_into_nginx_s_buffer(answering: Stack, user: str, model: Model) -> None:
    lines = [f"openai-{number}: {'x' * 500}" for number in range(20)] + ["x-request-id: r1"]
    head = HEAD.replace(b"\r\n\r\n", "\r\n".join(["", *lines, "", ""]).encode())
    model.script = lambda c: c.send(head).say("a").done()
    answer = ask(answering, user, stream=True)
    assert text(data(answer.text)) == "a"
    assert answer.headers["x-request-id"] == "r1"


def test_a_base_url_with_a_query(start: Start, user: str, model: Model) -> None:
    url = model.url.replace("/v1", "/openai/deployments/d/?api-version=2024-10-21")
    stack = start(llm_base_url=f" {url} ", workers=1)
    model.script = plain
    assert text(data(ask(stack, user, stream=True).text)) == "Hello world"
    stack.get("/v1/models", stack.bearer(user))
    paths = [each.headers[":path"] for each in model.conversations]
    assert paths == [f"/openai/deployments/d/{each}?api-version=2024-10-21" for each in ("chat/completions", "models")]


def test_what_an_operator_should_see_is_logged_once(start: Start, user: str, model: Model) -> None:
    stack = start(llm_base_url=model.url, workers=1)
    refusals = [("401 No", ()), ("307 There", ("Location: https://there.example/v1?key=hunter2",)), ("404 No", ())]
    for status, headers in refusals * 2:
        model.script = lambda c, s=status, h=headers: c.answer(s, b"{}", "application/json", *h)  # type: ignore[misc]
        assert ask(stack, user, stream=True).status_code in (404, 502)
    until(lambda: "answers 404" in stack.output, "the last of them")
    assert f"; {model.url.split('/')[2]}" in stack.output
    told = re.findall(r"the model's server answers (\d+): (.*)", stack.output)
    assert [status for status, _ in told] == ["401", "307", "404"]
    assert "PUSHSVC_LLM_API_KEY" in told[0][1]
    assert "https://there.example/v1" in told[1][1]
    assert "hunter2" not in stack.output


def test_a_question_that_cannot_be_sent_is_ended_at_once(start: Start, user: str, model: Model) -> None:
    """Whatever the reason is; here a name that the client library refuses."""
    stack = start(llm_base_url="http://a..b/v1", workers=1)
    for stream in (True, False):
        answer = ask(stack, user, stream=stream)
        assert answer.status_code == 502
        assert answer.json()["error"]["code"] in ("internal_error", "upstream_unreachable")
    assert not model.conversations


# The mock


TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"}, "days": {"type": "integer", "minimum": 2},
                    "unit": {"enum": ["c", "f"]}, "when": {"type": ["null", "string"], "format": "date"},
                    "where": {"$ref": "#/$defs/where"}, "tags": {"type": "array", "items": {"type": "boolean"}},
                },
                "required": ["city", "days", "unit", "when", "where", "tags"],
                "$defs": {"where": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}},
            },
        },
    }
    for name in ("weather", "time")
]  # fmt: skip
ARGUMENTS = {"city": "Oslo?", "days": 2, "unit": "c", "when": "2026-01-31", "where": {"x": 1}, "tags": [True]}


def mocked(stack: Stack, user: str, **members: Any) -> tuple[Any, Any]:
    """An answer that is streamed and folded by the client, and one that comes whole."""
    client = sdk(stack, user)
    question: Any = {"model": "mock", "messages": [{"role": "user", "content": "Oslo?"}]} | members
    with client.chat.completions.stream(**question) as stream:
        folded = stream.get_final_completion()
    return folded, client.chat.completions.create(**question)


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        (None, "weather"), ("auto", "weather"), ("required", "weather"), ("none", None),
        ({"type": "function", "function": {"name": "time"}}, "time"),
    ],
)  # fmt: skip
def test_the_mock_calls_tools(stack: Stack, user: str, choice: Any, name: str | None) -> None:
    for answer in mocked(stack, user, tools=TOOLS, **({} if choice is None else {"tool_choice": choice})):
        [only] = answer.choices
        if name is None:
            assert (only.finish_reason, only.message.tool_calls) == ("stop", None)
            continue
        [call] = only.message.tool_calls
        assert (only.finish_reason, only.message.content or None, call.function.name) == ("tool_calls", None, name)
        assert json.loads(call.function.arguments) == ARGUMENTS
        assert call.id.startswith("call_")


def test_the_mock_goes_on_with_what_a_tool_said(stack: Stack, user: str) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Oslo?"}, {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "It rains."},
    ]  # fmt: skip
    for answer in mocked(stack, user, tools=TOOLS, messages=messages):
        assert "It rains." in answer.choices[0].message.content


def test_the_mock_writes_json(stack: Stack, user: str) -> None:
    schema = TOOLS[0]["function"]["parameters"]
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    body = {"messages": [{"role": "user", "content": "Oslo?"}], "response_format": wanted}
    answer = stack.post(PATH, body, stack.bearer(user)).json()
    assert json.loads(answer["choices"][0]["message"]["content"]) == ARGUMENTS
    answer = stack.post(PATH, body | {"response_format": {"type": "json_object"}}, stack.bearer(user)).json()
    assert "Oslo?" in json.loads(answer["choices"][0]["message"]["content"])["answer"]


def test_the_mock_gives_as_many_choices_as_are_asked_for(stack: Stack, user: str) -> None:
    for answer in mocked(stack, user, n=3):
        assert [(each.index, each.finish_reason) for each in answer.choices] == [(n, "stop") for n in range(3)]
        assert all(each.message.content.startswith("You said: “Oslo?”") for each in answer.choices)


ODD: list[Any] = [
    {"tools": {}}, {"tools": [1, {"function": 2}, {"function": {"name": 3}}]}, {"tools": [{"function": {"name": "f"}}]},
    {"tools": [{"function": {"name": "f", "parameters": {"$ref": "#"}}}]}, {"tools": TOOLS, "tool_choice": 7},
    {"response_format": 3}, {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": []}}}},
    {"n": "x"}, {"n": -1}, {"n": 10**6}, {"max_tokens": "x"}, {"tools": [{"function": {"name": "f", "parameters": 3}}]},
    {"response_format": {"type": "json_schema", "json_schema": {"schema": {
        "type": "array", "minItems": 10, "items": {"type": "array", "minItems": 10, "items": {"$ref": "#"}}}}}},
]  # fmt: skip


@pytest.mark.parametrize("members", ODD)
def test_the_mock_bears_odd_questions(stack: Stack, user: str, members: Any) -> None:
    body = {"messages": [{"role": "user", "content": "q"}]} | members
    assert stack.post(PATH, body, stack.bearer(user)).status_code == 200
