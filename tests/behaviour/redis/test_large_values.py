"""A Redis that takes no values of more than a mebibyte: what is larger is refused with that limit, and nobody else's
connection breaks with it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from pushsvc.storage.redis.largest import LARGE, Largest, TooLong
from tests.conftest import Start
from tests.support.clients.eventsource import EventSource
from tests.support.clients.traffic import publishing
from tests.support.models.model import HEAD, Conversation, Model
from tests.support.stack import Stack

LIMIT = 2**20
LONG = "x" * (2 * LIMIT)
REASON = f"Redis takes values of at most {LIMIT} bytes here; this one has "


@pytest.fixture(scope="module")
def narrow(shared: Start, _model: Model) -> Stack:
    stack = shared(llm_base_url=_model.url, max_event_bytes=16 * LIMIT, workers=1, heartbeat_seconds=0.7)
    stack.redis.config_set("proto-max-bulk-len", LIMIT)
    return stack


def question(text: str, **more: object) -> dict[str, object]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


@pytest.mark.parametrize("path", ["/v1/generations", "/v1/chat/completions"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_question(narrow: Stack, user: str, model: Model, path: str, stream: bool) -> None:
    """A long question is refused each time, with a key or without, and smaller ones are answered."""
    for headers in ({}, {"Idempotency-Key": "k"}, {"Idempotency-Key": "k"}):
        refused = narrow.post(path, question(LONG, stream=stream), narrow.bearer(user) | headers)
        assert refused.status_code == 413
        assert refused.json()["error"]["message"].startswith(REASON)
    asked = narrow.post(path, question("x" * (LIMIT * 9 // 10), stream=stream), narrow.bearer(user))
    assert asked.status_code in (200, 202)
    model.asked()


def test_an_event(narrow: Stack, user: str) -> None:
    with narrow.listen(user) as source:
        for key in (None, "k", "k"):
            event = {"user": user, "data": LONG, "key": key}
            refused = narrow.post("/publish", event, narrow.bearer(publish=["*"]))
            assert refused.status_code == 413
            assert refused.json()["detail"].startswith(REASON)
        almost = narrow.publish(user=user, data="x" * (LIMIT * 9 // 10), key="k")
        source.wait_ids(almost)
        assert source.ids == [almost]


def test_many_at_once(narrow: Stack, user: str) -> None:
    """There are more large values than may have a connection of their own at a time, and others beside them."""
    sizes = [LIMIT * 9 // 10, 2 * LIMIT, 1] * 6
    with narrow.listen(user) as source, ThreadPoolExecutor(len(sizes)) as crowd:
        items = [{"user": user, "data": "x" * size, "key": str(number)} for number, size in enumerate(sizes)]
        bearer = narrow.bearer(publish=["*"])
        answers = list(crowd.map(lambda item: narrow.post("/publish", item, bearer), items))
        assert [answer.status_code for answer in answers] == [200, 413, 200] * 6
        source.wait_ids(*(answer.json()["id"] for answer in answers if answer.status_code == 200))


def test_a_batch_item_by_item_and_in_order(narrow: Stack, user: str) -> None:
    sizes = [1, 2 * LIMIT, 2, LARGE + 10, 3, 3 * LIMIT, 4]
    with narrow.listen(user) as source:
        items = [{"user": user, "data": "x" * size} for size in sizes]
        results = narrow.post("/publish", items, narrow.bearer(publish=["*"])).json()["results"]
        assert [result.get("error", {}).get("status") for result in results] == [
            413 if size > LIMIT else None for size in sizes
        ]
        ids = [result["id"] for result in results if "id" in result]
        source.wait_ids(*ids)
        assert source.ids == ids
        assert [len(message.data) for message in source.messages if message.id in ids] == [
            size for size in sizes if size <= LIMIT
        ]


def test_a_redis_that_closes_without_a_word(start: Start, user: str) -> None:
    """Redis does so beyond its query buffer, and many proxies do."""
    stack = start(max_event_bytes=16 * LIMIT, workers=1)
    stack.redis.config_set("client-query-buffer-limit", 3 * LIMIT)
    for size, status in ((5, 413), (5, 413), (2, 200)):
        event = {"user": user, "data": "x" * size * LIMIT}
        answer = stack.post("/publish", event, stack.bearer(publish=["*"]))
        assert answer.status_code == status
        assert status == 200 or "Redis takes values of at most " in answer.text


def test_nobody_else_notices(start: Start, user: str) -> None:
    """Others' events are not sent twice either: no key is a duplicate. Each worker finds the limit under traffic."""
    stack = start(max_event_bytes=16 * LIMIT, workers=2)
    stack.redis.config_set("proto-max-bulk-len", LIMIT)
    with stack.listen(user) as source, publishing(stack, user) as acked:
        for size in (5, 9, 3, 2, 7, 15):
            refused = stack.post("/publish", {"user": "other", "data": "x" * size * LIMIT}, stack.bearer(publish=["*"]))
            assert refused.status_code == 413
            assert refused.json()["detail"].startswith(REASON)
        count = len(acked)
        source.wait(lambda source: len(source.messages) > count + 20, "traffic")
        assert "event: gap" not in str(source.body)
    assert " 503 " not in stack.output


def test_an_answer(narrow: Stack, user: str, model: Model) -> None:
    """Its listener hears why it ends. Otherwise the write, with those of others in the same script, would be repeated
    for ever."""

    def long(conversation: Conversation) -> None:
        conversation.send(HEAD).say("short").say("y" * 3 * LIMIT).done()

    model.script = long
    begun = narrow.post("/v1/generations", question("?"), narrow.bearer(user)).json()
    with EventSource(f"{narrow.url}{begun['url']}", narrow.bearer(user)) as source:
        source.wait(lambda source: source.messages and source.messages[-1].data == "[DONE]", "the end")
    state = narrow.get(f"/v1/generations/{begun['id']}", narrow.bearer(user)).json()
    assert state["state"] == "upstream_error"
    assert state["error"]["message"] == "The model's answer is larger than Redis takes."


def test_the_limit_is_found_in_few_tries() -> None:
    asked: list[int] = []

    def takes(size: int) -> bool:
        asked.append(size)
        return size <= 3 * LIMIT + 5

    largest = Largest()
    largest.check(16 * LIMIT)
    with pytest.raises(TooLong) as caught:
        largest.judge(16 * LIMIT, takes)
    assert caught.value.limit == 3 * LIMIT
    assert len(asked) <= 15
    largest.check(3 * LIMIT)
    with pytest.raises(TooLong):
        largest.check(3 * LIMIT + 1)


@pytest.mark.parametrize("answers", ["?", "n", "yy", "y?", "yn?", "ynn"])
def test_a_redis_that_is_away_proves_nothing(answers: str) -> None:
    given = iter({"y": True, "n": False, "?": None}[each] for each in answers)
    largest = Largest()
    largest.judge(2 * LIMIT, lambda _: next(given))
    largest.check(2 * LIMIT)
