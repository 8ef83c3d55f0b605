"""The right to hear an answer, and a question that is sent twice: a key, or a double click."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.clients.eventsource import until
from tests.support.models.answers import begin, cancel, ended, state, words
from tests.support.models.completions import ASK, PATH, data, text
from tests.support.models.model import HEAD, Conversation, Model, plain
from tests.support.stack import Stack

# Who may


@pytest.mark.every_redis
def test_only_its_user_or_an_admin(answering: Stack, user: str, model: Model) -> None:
    model.script = words("secret")
    begun = begin(answering, user)
    path = f"/v1/generations/{begun['id']}"
    until(lambda: state(answering, user, begun["id"])["text"] == "secret", "the first token")
    for headers in (answering.bearer("mallory", subscribe=["*"]), answering.bearer(publish=["*"])):
        for method, where in (("GET", path), ("DELETE", path), ("GET", f"{path}/events"), ("GET", begun["url"])):
            answer = httpx.request(method, answering.url + where, headers=headers, trust_env=False)
            assert answer.status_code in (403, 404), (method, where)
            assert "secret" not in answer.text
            assert answer.json()["error"]["type"] in ("not_found_error", "permission_error")
    unknown = answering.get("/v1/generations/gen_nothing", answering.bearer(user))
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_found")
    for where in (path, f"{path}/events", f"{path}/events?ticket=wrong", f"{path}/events?ticket=%00"):
        assert httpx.get(answering.url + where, trust_env=False).status_code == 401
    admin = answering.bearer("root", admin=True)
    assert answering.get(path, admin).json()["text"] == "secret"
    assert httpx.delete(answering.url + path, headers=admin, trust_env=False).json()["state"] == "cancelled"
    assert answering.get("/v1/generations", answering.bearer("mallory")).json()["data"] == []


@pytest.mark.every_redis
def test_a_url_opens_one_answer_and_nothing_else(answering: Stack, user: str) -> None:
    first, second = begin(answering, user), begin(answering, user)
    ticket = first["url"].partition("?")[2]
    for path in (f"/v1/generations/{second['id']}/events", f"/v1/generations/{first['id']}", "/events", "/unread"):
        assert httpx.get(f"{answering.url}{path}?{ticket}", trust_env=False).status_code == 401


@pytest.mark.every_redis
def test_a_ticket_of_a_backend_s_works_too(answering: Stack, user: str) -> None:
    begun = begin(answering, user)
    ticket = answering.post("/tickets", {"user": user}, answering.bearer(subscribe=["*"])).json()["ticket"]
    ended(answering, user, begun["id"])
    url = f"{answering.url}/v1/generations/{begun['id']}/events?ticket={ticket}"
    with httpx.Client(trust_env=False) as browser:
        assert "Hello world" in browser.get(url).text
        assert "Hello world" in browser.get(url).text  # by the cookie that it got
    assert httpx.get(url, trust_env=False).status_code == 401


def test_another_site_s_page_cannot_use_the_url(answering: Stack, user: str) -> None:
    begun = begin(answering, user)
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert httpx.get(answering.url + begun["url"], headers=headers, trust_env=False).status_code == 403


# Idempotency


@pytest.mark.every_redis
@pytest.mark.every_script
def test_a_double_click_starts_one(answering: Stack, user: str, model: Model) -> None:
    with ThreadPoolExecutor(8) as pool:
        begun = list(pool.map(lambda _: begin(answering, user, key="click"), range(8)))
    assert len({each["id"] for each in begun}) == 1
    assert len({each["url"].partition("?")[0] for each in begun}) == 1  # the ticket names its second
    ended(answering, user, begun[0]["id"])
    assert len(model.conversations) == 1
    other = begin(answering, f"{user}-other", key="click")
    assert other["id"] != begun[0]["id"]
    ended(answering, f"{user}-other", other["id"])


@pytest.mark.parametrize("stream", [True, False])
def test_a_repeated_question_gets_the_first_answer(answering: Stack, user: str, model: Model, stream: bool) -> None:
    headers = answering.bearer(user) | {"Idempotency-Key": "again"}
    body = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "once"}}]}

    def script(conversation: Conversation) -> None:
        if stream:
            conversation.send(HEAD).say("on").say("ce").done()
        else:
            conversation.answer("200 OK", json.dumps(body).encode())

    model.script = script
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: answering.post(PATH, ASK | {"stream": stream}, headers), range(4)))
    answers.append(answering.post(PATH, ASK | {"stream": stream}, headers))
    for answer in answers:
        assert answer.status_code == 200
        assert (text(data(answer.text)) == "once") if stream else (answer.json() == body)
    assert len({answer.headers["x-generation-id"] for answer in answers}) == 1
    assert len(model.conversations) == 1


FAILURES: list[Callable[[Conversation], object]] = [
    lambda conversation: conversation.answer("429 Too Many", b'{"error": {"message": "slow down"}}'),
    lambda conversation: conversation.answer("500 Oh", b"{}"),
    Conversation.close,
    lambda conversation: conversation.send(HEAD).say("half").close(),
]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_key_remembers_what_was_done(answering: Stack, user: str, model: Model, failure: Any) -> None:
    """A thing that failed was not done: the same key asks again."""
    model.script = failure
    headers = answering.bearer(user) | {"Idempotency-Key": "again"}
    ids = []
    for stream in (True, False):
        answer = answering.post(PATH, ASK | {"stream": stream}, headers)
        ids.append(answer.headers["x-generation-id"])
        assert answer.status_code >= 429 or '"error"' in answer.text
    asked = len(model.conversations)
    model.script = plain
    for _ in range(3):
        answer = answering.post(PATH, ASK | {"stream": True}, headers)
        assert text(data(answer.text)) == "Hello world"
        ids.append(answer.headers["x-generation-id"])
    assert len(model.conversations) == asked + 1
    assert len(set(ids)) == 3


@pytest.mark.every_script
def test_a_key_of_an_answer_that_was_cancelled(answering: Stack, user: str, model: Model) -> None:
    model.script = words("a")
    first = begin(answering, user, key="again")
    model.asked()
    assert begin(answering, user, key="again")["id"] == first["id"]
    cancel(answering, user, first["id"])
    second = begin(answering, user, key="again")
    assert second["id"] != first["id"]
    assert state(answering, user, first["id"])["state"] == "cancelled"
    cancel(answering, user, second["id"])
