"""The record of answers: their state, the history, news of them, and how many there may be."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from pushsvc.llm.store import Records
from pushsvc.storage.log import EventLog
from pushsvc.storage.redis.client import RedisClient, connect
from pushsvc.storage.redis.keys import ALONE as keys
from pushsvc.storage.retention import Retention
from tests.conftest import Start
from tests.support.clients.eventsource import EventSource, until
from tests.support.models.answers import begin, cancel, ended, listen, said, state, words
from tests.support.models.completions import ASK, data, text
from tests.support.models.model import Model, silent
from tests.support.stack import Stack

# What is kept


def test_a_state_says_everything(answering: Stack, user: str, model: Model) -> None:
    model.script = words("Hel")
    begun = begin(answering, user)
    conversation = model.asked()
    until(lambda: state(answering, user, begun["id"])["text"] == "Hel", "the first token")
    described = state(answering, user, begun["id"])
    assert (described["state"], described["finish_reason"], described["error"]) == ("running", None, None)
    assert described["seconds"] is None
    conversation.say("lo").done("length")
    described = ended(answering, user, begun["id"])
    assert described["choices"] == [
        {"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": "Hello"}}
    ]
    assert described["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "estimated": True}
    assert (described["model"], described["text"]) == ("fake", "Hello")
    assert described["id"] == begun["id"]
    assert described["url"].partition("?")[0] == begun["url"].partition("?")[0]  # its ticket lasts from now
    assert described["seconds"] >= 0


def test_a_question_is_told_to_who_asks_for_it(answering: Stack, user: str, model: Model) -> None:
    """It is told as it was written, and not with every state: it may have megabytes."""
    messages = b'[ {"role":"user","content":"\\u00e4","n":1.10} ]'
    body = b'{"model":"m\xc3\xa4","messages":%b}' % messages
    headers = answering.bearer(user) | {"Content-Type": "application/json"}
    url = f"{answering.url}/v1/generations"
    generation = httpx.post(url, content=body, headers=headers, trust_env=False).json()["id"]
    ended(answering, user, generation)

    def told(path: str, **query: str) -> bytes:
        content = answering.get(f"/v1/generations{path}", answering.bearer(user), **query).content
        return re.sub(rb"ticket=[0-9]+\.[0-9a-f]+", b"ticket", content)  # it lasts from now

    for path in ("", f"/{generation}"):
        assert b"messages" not in told(path)
        assert b'"messages":' + messages in told(path, include="messages")
    assert answering.get("/v1/generations", answering.bearer(user), include="all").status_code == 400
    before = told(""), told("", include="messages")
    answering.redis.hdel(keys.generation(generation), "about")  # as it was kept before
    assert (told(""), told("", include="messages")) == before


@pytest.mark.every_redis
def test_a_history_in_pages(answering: Stack, user: str) -> None:
    ids = []
    for number in range(7):
        messages = [{"role": "user", "content": f"question {number}"}]
        ids.append(begin(answering, user, messages=messages)["id"])
        ended(answering, user, ids[-1])
    found, after = [], None
    for size, more in ((3, True), (3, True), (1, False)):
        page = answering.get(
            "/v1/generations",
            answering.bearer(user),
            include="messages",
            limit=3,
            **({"after": after} if after else {}),
        )
        body = page.json()
        assert (len(body["data"]), body["has_more"], body["object"]) == (size, more, "list")
        found += [(each["id"], each["messages"][0]["content"], each["text"]) for each in body["data"]]
        after = body["last_id"]
    assert found == [(ids[n], f"question {n}", "Hello world") for n in reversed(range(7))]
    assert answering.get("/v1/generations", answering.bearer(user), after=after).json()["data"] == []
    for wrong in ({"limit": 0}, {"limit": 1000}, {"limit": "x"}, {"after": "gen_nothing"}):
        refused = answering.get("/v1/generations", answering.bearer(user), **wrong)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, next(iter(wrong)))


def test_retention_is_that_of_events(start: Start, user: str, model: Model) -> None:
    stack = start(llm_base_url=model.url, keep_events=2, keep_seconds=1000, workers=1)
    ids = []
    for _ in range(3):
        ids.append(begin(stack, user)["id"])
        ended(stack, user, ids[-1])  # what runs is kept
    kept = [each["id"] for each in stack.get("/v1/generations", stack.bearer(user)).json()["data"]]
    assert kept == [ids[2], ids[1]]
    until(lambda: not stack.redis.exists(keys.generation(ids[0]), keys.log(f"answer:{ids[0]}")), "the first to be gone")

    def lasting() -> list[bytes]:
        found = [key for key in stack.redis.scan_iter("*gen*") if b"generating" not in key]
        return [key for key in found if not 0 < stack.redis.ttl(key) <= 2 * 1000]

    until(lambda: not lasting(), "all to expire")
    for key in stack.redis.scan_iter("*gen*"):
        stack.redis.delete(key)  # as if the time was over
    assert stack.get("/v1/generations", stack.bearer(user)).json()["data"] == []


@pytest.mark.every_redis
@pytest.mark.every_script
def test_news_of_what_begins_and_ends(answering: Stack, door: str, user: str) -> None:
    with EventSource(f"{door}/v1/generations/events", answering.bearer(user)).wait_open() as source:
        begun = begin(answering, user)
        begin(answering, f"{user}-other")
        messages = source.wait_for(2)
        assert [json.loads(each.data) for each in messages] == [
            {"id": begun["id"], "state": "running"}, {"id": begun["id"], "state": "completed"},
        ]  # fmt: skip
        assert {each.event for each in messages} == {"generation"}
    assert answering.get("/unread", answering.bearer(user)).json()["unread"] == 0


def test_left_alone_it_is_cancelled_if_asked_so(answering: Stack, user: str, model: Model) -> None:
    model.script = words("a")
    begun = begin(answering, user, on_disconnect="cancel")
    conversation = model.asked()
    with listen(answering, begun["url"]) as stays:
        listen(answering, begun["url"]).close()
        stays.wait(lambda each: said(each.messages) == "a")
    conversation.wait_for_hang_up()
    assert ended(answering, user, begun["id"])["state"] == "cancelled"


@pytest.mark.every_script
def test_what_is_packed_is_told_as_before(answering: Stack, user: str, model: Model) -> None:
    """Answers are packed a minute after their end, here at once."""
    model.script = words("grün ", "\n\n", "data: x")
    begun = begin(answering, user, key="packed")
    model.asked().done()
    assert ended(answering, user, begun["id"])["text"] == "grün \n\ndata: x"

    def told() -> list[Any]:
        whole = httpx.get(answering.url + begun["url"], trust_env=False).text
        ids = [line.removeprefix("id: ") for line in whole.split("\n") if line.startswith("id: ")]
        later = [
            httpx.get(answering.url + begun["url"], headers={"Last-Event-ID": each}, trust_env=False).text
            for each in ids
        ]
        now = state(answering, user, begun["id"])
        now["url"] = now["url"].partition("?")[0]  # its ticket lasts from now
        return [data(whole), ids, *map(data, later), now]

    before = told()
    store = RedisClient(connect(f"unix://{answering.data_dir}/valkey.sock"))
    kept = Retention(keep_events=10, keep_seconds=3600, dedupe_seconds=60)
    Records(store, EventLog(store, kept), "test", kept, most_per_user=1, most_bytes=1).pack(begun["id"])
    channel = f"answer:{begun['id']}"
    assert not answering.redis.exists(keys.log(channel), keys.tail(channel))
    assert told() == before
    assert "grün" in json.dumps(before, ensure_ascii=False)
    headers = answering.bearer(user) | {"Idempotency-Key": "packed"}
    again = answering.post("/v1/chat/completions", ASK | {"stream": True}, headers)
    assert text(data(again.text)) == "grün \n\ndata: x"
    assert again.text.count("[DONE]") == 1


def test_a_page_of_the_history_has_bounds(answering: Stack, user: str) -> None:
    """A page is bounded however large the questions are."""
    messages = [{"role": "user", "content": "x" * (3 * 2**20)}]
    ids = [begin(answering, user, messages=messages)["id"] for _ in range(3)]
    found: list[str] = []
    for number in range(3):
        after = {"include": "messages"} | ({"after": found[-1]} if found else {})
        page = answering.get("/v1/generations", answering.bearer(user), **after).json()
        assert (len(page["data"]), page["has_more"]) == (1, number < 2)
        found.append(page["last_id"])
    assert found == ids[::-1]


def test_who_listens_by_a_worker_that_died_does_not_listen(answering: Stack, user: str, model: Model) -> None:
    model.script = words("a")
    begun = begin(answering, user, on_disconnect="cancel")
    conversation = model.asked()
    answering.redis.hset(keys.connections(f"answer:{begun['id']}"), "died", 1)
    answering.redis.set(keys.worker("died"), "", ex=3)
    conversation.wait_for_hang_up()
    assert ended(answering, user, begun["id"])["state"] == "cancelled"


def test_so_many_answers_of_a_user_at_a_time(start: Start, user: str, model: Model) -> None:
    model.script = silent
    stack = start(llm_base_url=model.url, llm_max_generations_per_user=2)
    ids = [begin(stack, user)["id"] for _ in range(2)]
    refused = stack.post("/v1/generations", ASK, stack.bearer(user))
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
    assert refused.headers["retry-after"]
    begin(stack, f"{user}-other")
    cancel(stack, user, ids[0])
    begin(stack, user)
    stack.redis.delete(keys.generation(ids[1]))  # as if it had expired: it does not count for ever
    begin(stack, user)


def test_large_questions_of_a_user_are_kept_up_to_a_bound(start: Start, user: str, model: Model) -> None:
    """The oldest are forgotten; what is still being answered is not."""
    stack = start(workers=1, llm_base_url=model.url, llm_max_bytes_per_user=1_000_000)

    def ask(size: int, of: str = user) -> httpx.Response:
        body = {"messages": [{"role": "user", "content": "x" * size}]}
        return stack.post("/v1/generations", body, stack.bearer(of))

    def kept(of: str = user) -> list[str]:
        return [each["id"] for each in stack.get("/v1/generations", stack.bearer(of)).json()["data"]]

    ids = []
    for _ in range(5):
        ids.append(ask(300_000).json()["id"])
        ended(stack, user, ids[-1])
    assert kept() == ids[:1:-1]
    assert ask(300_000, f"{user}2").status_code == 202
    assert ask(1_100_000).status_code == 429
