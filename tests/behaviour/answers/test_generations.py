"""Answers that belong to the service: begun by one request, listened to by others, resumed, cancelled, lost, kept."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import httpx
import pytest

from pushsvc.llm.store import Records
from pushsvc.storage.log import EventLog
from pushsvc.storage.redis.client import RedisClient, connect
from pushsvc.storage.redis.keys import ALONE as keys
from pushsvc.storage.retention import Retention
from tests.conftest import Start
from tests.support.clients.eventsource import EventSource, Message, Parser, until
from tests.support.models.answers import begin, cancel, finished, listen, running, said, state, words
from tests.support.models.completions import ASK, data, text
from tests.support.models.model import HEAD, Conversation, Model, plain, silent
from tests.support.stack import Stack, alive


@pytest.fixture(autouse=True)
def _as_if_nobody_had_asked(model: Model) -> None:
    """Also for tests that leave the model as it is."""


def ended(stack: Stack, user: str, generation_id: str) -> dict[str, Any]:
    until(lambda: state(stack, user, generation_id)["state"] != "running", "the end of the answer")
    return state(stack, user, generation_id)


# Listening


@pytest.mark.every_redis
def test_every_tab_hears_it_as_it_comes(answering: Stack, door: str, user: str, model: Model) -> None:
    model.script = words("Hel")
    begun = begin(answering, user, door)
    conversation = model.asked()
    with listen(answering, begun["url"], door) as first, listen(answering, begun["url"], door) as second:
        first.wait(lambda each: said(each.messages) == "Hel")
        conversation.say("lo")
        first.wait(lambda each: said(each.messages) == "Hello")
        with listen(answering, begun["url"], door) as late:
            assert said(late.wait_for(1)) == "Hello"
            assert json.loads(late.messages[0].data)["snapshot"] is True
            conversation.say(" world").done()
            for tab in (first, second, late):
                messages = finished(tab)
                assert said(messages) == "Hello world"
                assert [message.data for message in messages].count("[DONE]") == 1
                assert all(a.id < b.id for a, b in pairwise(messages))
                tab.wait(lambda each: each.closed, "a clean end")


def test_heartbeats_from_the_first_moment(answering: Stack, door: str, user: str, model: Model) -> None:
    model.script = silent
    begun = begin(answering, user, door)
    with listen(answering, begun["url"], door) as source:
        source.wait(lambda each: "" in each.parser.comments, "a heartbeat before the model has said anything")
    cancel(answering, user, begun["id"])


def test_the_same_url_afterwards(answering: Stack, door: str, user: str) -> None:
    begun = begin(answering, user)
    ended(answering, user, begun["id"])
    with listen(answering, begun["url"], door) as source:
        snapshot, done = finished(source)
        assert said([snapshot]) == "Hello world"
        assert json.loads(snapshot.data)["snapshot"] is True
    again = httpx.get(door + begun["url"], headers={"Last-Event-ID": snapshot.id}, trust_env=False)
    assert data(again.text) == ["[DONE]"]
    nothing = httpx.get(door + begun["url"], headers={"Last-Event-ID": done.id}, trust_env=False)
    assert (nothing.status_code, nothing.content) == (204, b"")


def test_a_browser_s_reconnects_end_with_the_answer(answering: Stack, user: str) -> None:
    """The service closes the stream, the browser comes back, and is told that it need not."""
    begun = begin(answering, user)
    with listen(answering, begun["url"], reconnect=True) as source:
        source.wait(lambda each: each.closed, "the last word")
        assert source.statuses[-1] == 204
        assert said(source.messages) == "Hello world"
        assert source.data.count("[DONE]") == 1


TOKENS = [f"{number} " if number % 7 else "ü🚀\r\n" for number in range(2000)]


@pytest.fixture(scope="module")
def long_answer(answering: Stack, _model: Model) -> Iterator[tuple[dict[str, str], bytes]]:
    """2000 tokens, and the stream of who heard them all, from the first."""

    _model.script, before = words(), len(_model.conversations)
    begun = begin(answering, "long")
    conversation = _model.asked(before + 1)
    with httpx.stream("GET", answering.url + begun["url"], timeout=60, trust_env=False) as response:
        pieces = response.iter_raw()
        first = next(pieces)
        for number, token in enumerate(TOKENS):
            conversation.say(token)
            if number % 10 == 0:
                conversation.hung_up.wait(0.005)  # what comes together is joined; some shall not
        conversation.done()
        yield begun, first + b"".join(pieces)


def test_cut_at_every_byte_it_is_resumed_to_the_same_text(
    answering: Stack, long_answer: tuple[dict[str, str], bytes]
) -> None:
    begun, body = long_answer
    parser, heard, whole = Parser(), "", "".join(TOKENS)
    resumed: dict[str, str] = {}
    with httpx.Client(base_url=answering.url, trust_env=False) as client:
        previous = None
        for cut in range(len(body) + 1):
            # A browser decodes as it reads: what is cut in a character or a line has not been dispatched.
            for message in parser.feed(body[cut - 1 : cut].decode("latin-1")) if cut else ():
                heard += said([Message("", "", message.data.encode("latin-1").decode())])
            last = parser.last_event_id
            if last not in resumed and last:
                answer = client.get(begun["url"], headers={"Last-Event-ID": last})
                resumed[last] = text(data(answer.text)) if answer.status_code == 200 else ""
            if last and last != previous:
                assert heard + resumed[last] == whole, f"cut at byte {cut}"
            previous = last
    assert len(resumed) > 100
    assert state(answering, "long", begun["id"])["text"] == whole


def test_a_cursor_that_is_not_of_this_life(answering: Stack, user: str) -> None:
    begun = begin(answering, user)
    ended(answering, user, begun["id"])
    answer = httpx.get(answering.url + begun["url"], headers={"Last-Event-ID": "7-0"}, trust_env=False)
    assert "event: gap" in answer.text
    assert '"reason":"reset"' in answer.text
    bad = httpx.get(f"{answering.url}{begun['url']}&last_event_id=x", trust_env=False)
    assert (bad.status_code, bad.json()["error"]["param"]) == (400, "last_event_id")


@pytest.mark.every_redis
def test_many_answers_through_random_reconnects(answering: Stack, model: Model) -> None:
    """Each is heard by a browser that loses its connection again and again."""
    count, tokens = int(os.environ.get("ANSWERS", "40")), [f"{number}," for number in range(40)]

    def script(conversation: Conversation) -> None:
        conversation.send(HEAD)
        for token in tokens:
            conversation.say(token)
            conversation.hung_up.wait(0.01)
        conversation.done()

    def follow(number: int) -> str:
        user = f"many{number}"
        url = answering.url + begin(answering, user)["url"]
        heard, last, patience = "", "", 1 + number % 5
        with httpx.Client(trust_env=False) as client:
            while True:
                parser, messages = Parser(), 0
                with client.stream("GET", url, headers={"Last-Event-ID": last} if last else {}) as response:
                    if response.status_code == 204:
                        return heard
                    for piece in response.iter_text():
                        for message in parser.feed(piece):
                            last, messages = message.id, messages + 1
                            heard += said([message])
                        if messages >= patience:
                            break

    model.script = script
    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(follow, range(count))) == ["".join(tokens)] * count


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
def test_a_double_click_starts_one(answering: Stack, user: str, model: Model) -> None:
    with ThreadPoolExecutor(8) as pool:
        begun = list(pool.map(lambda _: begin(answering, user, key="click"), range(8)))
    assert len({each["id"] for each in begun}) == 1
    assert len({each["url"] for each in begun}) == 1
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


PATH = "/v1/chat/completions"


FAILURES: list[Callable[[Conversation], object]] = [
    lambda conversation: conversation.answer("429 Too Many", b'{"error": {"message": "slow down"}}'),
    lambda conversation: conversation.answer("500 Oh", b"{}"),
    Conversation.close,
    lambda conversation: conversation.send(HEAD).say("half").close(),
]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_key_remembers_what_was_done(answering: Stack, user: str, model: Model, failure: Any) -> None:
    """What failed was not done: the same key asks again."""
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


# Endings


@pytest.mark.every_redis
@pytest.mark.parametrize("begun_to_answer", [True, False])
def test_cancel(answering: Stack, user: str, model: Model, begun_to_answer: bool) -> None:
    model.script = words("a", "b") if begun_to_answer else silent
    begun = begin(answering, user)
    conversation = model.asked()
    with listen(answering, begun["url"]) as source:
        source.wait(lambda each: said(each.messages) == ("ab" if begun_to_answer else ""))
        answer = cancel(answering, user, begun["id"])
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
        conversation.wait_for_hang_up()
        messages = finished(source)
        assert json.loads(messages[-2].data)["error"]["code"] == "cancelled"
        source.wait(lambda each: each.closed, "a clean end")
    again = cancel(answering, user, begun["id"])
    assert (again.status_code, again.json()["state"]) == (200, "cancelled")
    assert again.json()["text"] == ("ab" if begun_to_answer else "")


def test_cancelling_twenty_times_ends_it_once(answering: Stack, user: str, model: Model) -> None:
    model.script = words("a")
    begun = begin(answering, user)
    model.asked()
    with listen(answering, begun["url"]) as source, ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: cancel(answering, user, begun["id"]), range(20)))
        finished(source)
    answer = httpx.get(answering.url + begun["url"], trust_env=False)
    assert answer.text.count("[DONE]") == 1
    assert answer.text.count('"code":"cancelled"') == 1


def test_an_asker_hears_that_it_was_cancelled(answering: Stack, user: str, model: Model) -> None:
    model.script = silent
    for stream in (True, False):
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(answering.post, PATH, ASK | {"stream": stream}, answering.bearer(user))
            model.asked(len(model.conversations) + 1 if not stream else 1)
            until(lambda: running(answering, user), "the answer to be begun")
            cancel(answering, user, running(answering, user)[0])
            answer = waiting.result(20)
        if answer.status_code == 200:  # the wait for the model's head was over
            assert data(answer.text)[-2]["error"]["code"] == "cancelled"
        else:
            assert (answer.status_code, answer.json()["error"]["code"]) == (499, "cancelled")


@pytest.fixture(scope="module")
def shaken(_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose parts are broken, one after the other."""
    running = Stack(tmp_path_factory.mktemp("shaken"), llm_base_url=_model.url)
    yield running
    running.stop()


@pytest.fixture
def stack(shaken: Stack) -> Stack:
    shaken.until_ready()
    return shaken


def test_a_worker_that_is_killed(stack: Stack, user: str, model: Model) -> None:
    """Others end what it made, and its listeners are not left hanging."""
    model.script = words("half an ans")
    begun = [begin(stack, user) for _ in range(4)]
    model.asked(4)
    with listen(stack, begun[0]["url"], reconnect=True) as source:
        source.wait(lambda each: said(each.messages) == "half an ans")
        for worker in stack.pids()["gunicorn"][1:]:
            os.kill(worker, signal.SIGKILL)
        stack.until_ready()
        messages = finished(source)
        assert json.loads(messages[-2].data)["error"]["code"] == "producer_lost"
        assert said(messages[:-2]) == "half an ans"
        source.wait(lambda each: each.closed, "the end of its reconnects")
    for each in begun:
        described = ended(stack, user, each["id"])
        assert (described["state"], described["text"]) == ("producer_lost", "half an ans")
        assert described["usage"]["estimated"] is True
        answer = httpx.get(stack.url + each["url"], trust_env=False)
        assert answer.text.count("[DONE]") == 1
    until(lambda: not stack.redis.smembers(keys.producers), "the dead to be forgotten")


def test_a_worker_that_stops_finishes_its_answers(stack: Stack, user: str, model: Model) -> None:
    """A reload: the listener lands on another worker, the answer goes on in the old one."""
    model.script = words("before, ")
    begun = begin(stack, user)
    conversation = model.asked()
    with listen(stack, begun["url"], reconnect=True) as source:
        source.wait(lambda each: said(each.messages) == "before, ")
        workers = stack.pids()["gunicorn"][1:]
        os.kill(stack.pids()["gunicorn"][0], signal.SIGHUP)
        source.wait(lambda each: len(each.statuses) > 1, "a reconnect")
        conversation.say("after").done()
        assert said(finished(source)) == "before, after"
    until(lambda: not any(map(alive, workers)), "the old workers to be gone", 30)
    assert state(stack, user, begun["id"])["state"] == "completed"


def test_a_worker_that_cannot_wait_longer_ends_its_answers(start: Start, user: str, model: Model) -> None:
    model.script = words("half")
    stack = start(llm_base_url=model.url, workers=1, drain_seconds=0, gunicorn="--graceful-timeout 4")
    begun = begin(stack, user)
    model.asked()
    until(lambda: state(stack, user, begun["id"])["text"] == "half", "the first token")
    os.kill(stack.pids()["gunicorn"][0], signal.SIGHUP)
    described = ended(stack, user, begun["id"])
    assert (described["state"], described["text"]) == ("producer_lost", "half")


def test_redis_is_away_for_a_while(stack: Stack, user: str, model: Model) -> None:
    """What the model says meanwhile waits, and is written once."""
    model.script = words("one ")
    begun = begin(stack, user)
    conversation = model.asked()
    with listen(stack, begun["url"], reconnect=True) as source:
        source.wait(lambda each: said(each.messages) == "one ")
        [valkey] = stack.pids()["valkey"]
        os.kill(valkey, signal.SIGKILL)
        conversation.say("two ").say("three")
        until(lambda: stack.pids()["valkey"] not in ([], [valkey]), "another Valkey")
        stack.until_ready()
        conversation.say(" four").done()
        assert said(finished(source)) == "one two three four"
    assert state(stack, user, begun["id"])["text"] == "one two three four"


def test_a_frozen_redis(stack: Stack, user: str, model: Model) -> None:
    """No answer to a write says nothing of whether it was done: it is repeated, and done once. And nobody is dead."""
    model.script = words("one ")
    begun = begin(stack, user)
    conversation = model.asked()
    until(lambda: state(stack, user, begun["id"])["text"] == "one ", "the first token")
    [valkey] = stack.pids()["valkey"]
    os.kill(valkey, signal.SIGSTOP)
    try:
        conversation.say("two ").say("three")
        until(lambda: "redis: TimeoutError" in stack.output, "a write that was not answered")
        conversation.hung_up.wait(2.5)  # the leases run out
    finally:
        os.kill(valkey, signal.SIGCONT)
    stack.until_ready()
    conversation.say(" four").done()
    described = ended(stack, user, begun["id"])
    assert (described["state"], described["text"]) == ("completed", "one two three four")


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
    assert (described["messages"], described["model"], described["text"]) == (ASK["messages"], "fake", "Hello")
    assert (described["id"], described["url"]) == (begun["id"], begun["url"])
    assert described["seconds"] >= 0


@pytest.mark.every_redis
def test_a_history_in_pages(answering: Stack, user: str) -> None:
    ids = []
    for number in range(7):
        messages = [{"role": "user", "content": f"question {number}"}]
        ids.append(begin(answering, user, messages=messages)["id"])
        ended(answering, user, ids[-1])
    found, after = [], None
    for size, more in ((3, True), (3, True), (1, False)):
        page = answering.get("/v1/generations", answering.bearer(user), limit=3, **({"after": after} if after else {}))
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
    stack = start(llm_base_url=model.url, keep_events=2, keep_seconds=4, workers=1)
    ids = [begin(stack, user)["id"] for _ in range(3)]
    kept = [each["id"] for each in stack.get("/v1/generations", stack.bearer(user)).json()["data"]]
    assert kept == [ids[2], ids[1]]
    until(lambda: not stack.redis.exists(keys.generation(ids[0]), keys.log(f"answer:{ids[0]}")), "the first to be gone")
    until(lambda: not [key for key in stack.redis.scan_iter("*gen*") if b"generating" not in key], "all to expire")
    assert stack.get("/v1/generations", stack.bearer(user)).json()["data"] == []


@pytest.mark.every_redis
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


def test_what_is_packed_is_told_as_before(answering: Stack, user: str, model: Model) -> None:
    """A minute after the end; here at once."""
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
        return [data(whole), ids, *map(data, later), state(answering, user, begun["id"])]

    before = told()
    store = RedisClient(connect(f"unix://{answering.data_dir}/valkey.sock"))
    kept = Retention(keep_events=10, keep_seconds=3600, dedupe_seconds=60)
    Records(store, EventLog(store, kept), "test", kept, most_per_user=1).pack(begun["id"])
    channel = f"answer:{begun['id']}"
    assert not answering.redis.exists(keys.log(channel), keys.tail(channel))
    assert told() == before
    assert "grün" in json.dumps(before, ensure_ascii=False)
    headers = answering.bearer(user) | {"Idempotency-Key": "packed"}
    again = answering.post("/v1/chat/completions", ASK | {"stream": True}, headers)
    assert text(data(again.text)) == "grün \n\ndata: x"
    assert again.text.count("[DONE]") == 1


def test_a_page_of_the_history_has_bounds(answering: Stack, user: str) -> None:
    """However large the questions are."""
    messages = [{"role": "user", "content": "x" * (3 * 2**20)}]
    ids = [begin(answering, user, messages=messages)["id"] for _ in range(3)]
    found: list[str] = []
    for number in range(3):
        after = {"after": found[-1]} if found else {}
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
