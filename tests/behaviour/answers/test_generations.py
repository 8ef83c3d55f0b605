"""Answers that belong to the service: begun by one request, listened to by others, resumed, cancelled, lost, kept."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import httpx
import pytest

from tests.support.clients.eventsource import Message, Parser
from tests.support.models.answers import begin, cancel, ended, finished, listen, said, state, words
from tests.support.models.completions import data, text
from tests.support.models.model import HEAD, Conversation, Model, silent
from tests.support.stack import Stack

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
    """2000 tokens, and the stream of a listener who heard them all, from the first."""

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
