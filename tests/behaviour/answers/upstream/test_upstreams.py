"""The request to a model's server: with which key and headers, wherever it redirects to, and once for a retry."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import openai
import pytest

from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.models.answers import running
from tests.support.models.completions import ASK, PATH, ask, data, sdk, text
from tests.support.models.model import Conversation, Model, plain, silent
from tests.support.stack import Stack

WHOLE = b'{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"all"},'
WHOLE += b'"finish_reason":"stop"}]}'


@pytest.fixture
def elsewhere() -> Iterator[Model]:
    """Another server."""
    running = Model()
    yield running
    running.close()


def moved(place: str) -> Callable[[Conversation], object]:
    def script(conversation: Conversation) -> None:
        if conversation.headers[":path"].startswith("/v1/"):
            conversation.answer("308 Moved", b"moved", "text/plain", f"Location: {place}")
        else:
            plain(conversation)

    return script


@pytest.mark.parametrize("stream", [True, False])
def test_a_redirect_on_the_same_server_takes_the_key_along(
    answering: Stack, user: str, model: Model, stream: bool
) -> None:
    model.script = moved("/there/chat?v=1")
    answer = ask(answering, user, stream=stream)
    assert answer.status_code == 200, answer.text
    first, second = model.conversations
    assert second.headers[":path"] == "/there/chat?v=1"
    assert second.headers["authorization"] == "Bearer a-test-key"
    assert second.body == first.body


def test_a_redirect_elsewhere_leaves_the_key_behind(
    answering: Stack, user: str, model: Model, elsewhere: Model
) -> None:
    model.script = moved(elsewhere.url.replace("/v1", "/there"))
    assert text(data(ask(answering, user, stream=True).text)) == "Hello world"
    assert "authorization" not in elsewhere.asked().headers
    assert elsewhere.asked().json["messages"] == ASK["messages"]


def test_redirects_in_a_circle_end(answering: Stack, user: str, model: Model) -> None:
    model.script = moved("/v1/again")
    answer = ask(answering, user, stream=True)
    assert (answer.status_code, answer.json()["error"]["status"]) == (502, 308)
    assert 10 < len(model.conversations) < 30


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("stream", [True, False])
def test_a_refusal_of_the_service_s_account_is_not_the_user_s(
    answering: Stack, user: str, model: Model, status: int, stream: bool
) -> None:
    model.script = lambda c: c.answer(f"{status} No", b'{"error":{"message":"Incorrect API key","code":"bad_key"}}')
    with pytest.raises(openai.InternalServerError) as raised:
        sdk(answering, user).with_options(max_retries=2).chat.completions.create(**ASK, stream=stream)
    assert len(model.conversations) == 1  # the client repeats nothing
    assert "not your token" in str(raised.value)
    assert "Incorrect API key" in str(raised.value)
    assert raised.value.code == "bad_key"


def test_the_key_is_read_from_its_file_each_time_and_headers_are_sent(
    shared: Start, user: str, model: Model, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text("first\r\n")
    stack = shared(llm_base_url=model.url, llm_api_key_file=file, llm_headers="X-Team: web\nuser-agent: us", workers=1)
    for key in ("first", "second"):
        file.write_text(f"{key}\n")
        assert ask(stack, user, stream=True).status_code == 200
        headers = model.conversations[-1].headers
        assert (headers["authorization"], headers["x-team"], headers["user-agent"]) == (f"Bearer {key}", "web", "us")
    file.write_text("two\nlines")
    for stream in (True, False):
        answer = ask(stack, user, stream=stream)
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_unreachable")
    assert "PUSHSVC_LLM_API_KEY_FILE" in stack.output
    assert len(model.conversations) == 2


# Retries


def retry(stack: Stack, user: str, count: int, **members: object) -> httpx.Response:
    headers = stack.bearer(user) | {"X-Stainless-Retry-Count": str(count)}
    return stack.post(PATH, ASK | members, headers)


def test_a_client_that_gives_up_and_asks_again_joins_its_answer(answering: Stack, user: str, model: Model) -> None:
    model.script = silent
    with pytest.raises(openai.APITimeoutError):
        sdk(answering, user).with_options(timeout=0.5).chat.completions.create(**ASK)
    body = model.asked()
    until(lambda: len(running(answering, user)) == 1, "the answer, which goes on")
    found: list[str | None] = []

    def again() -> None:
        headers = {"X-Stainless-Retry-Count": "1"}  # instead of the client's own, which would say 0
        answer = sdk(answering, user).chat.completions.create(**ASK, extra_headers=headers)
        found.append(answer.choices[0].message.content)

    asking = threading.Thread(target=again)
    asking.start()
    body.answer("200 OK", WHOLE)
    asking.join(15)
    assert found == ["all"]
    assert len(model.conversations) == 1


def test_only_a_retry_of_the_same_question_joins(answering: Stack, user: str, model: Model) -> None:
    model.script = lambda c: c.answer("200 OK", WHOLE)
    ids = {retry(answering, user, count).headers["x-generation-id"] for count in (0, 0, 1)}
    assert len(ids) == 3  # each had its answer, so nobody asks for it again
    model.script = silent
    first = threading.Thread(target=retry, args=(answering, user, 0))
    first.start()
    running_one = model.asked(4)
    model.script = lambda c: c.answer("200 OK", WHOLE)
    retry(answering, user, 1, seed=1)
    retry(answering, f"{user}-other", 1)
    retry(answering, user, 0)
    assert len(model.conversations) == 7
    running_one.answer("200 OK", WHOLE)
    first.join(15)


def test_a_retry_of_what_failed_asks_again(answering: Stack, user: str, model: Model) -> None:
    model.script = lambda c: c.answer("500 Oh", b"{}")
    assert retry(answering, user, 0).status_code == 500
    model.script = lambda c: c.answer("200 OK", WHOLE)
    assert retry(answering, user, 1).json()["choices"][0]["message"]["content"] == "all"
