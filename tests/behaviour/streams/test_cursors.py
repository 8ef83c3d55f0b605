"""Each stream says where it stands, so that a tab that has heard nothing misses nothing: the clients here take their
cursor as Firefox and WebKit do, from an event that was dispatched."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.conftest import Start
from tests.support.clients.eventsource import EventSource, Message, until
from tests.support.models.answers import begin, cancel, finished, listen, said, words
from tests.support.models.model import Model
from tests.support.stack import Stack

SINCE = ["", "?since=unread", "?since=now", "?since=earliest"]


def say(stack: Stack, user: str, *texts: str) -> list[str]:
    return stack.publish_many([{"user": user, "data": text} for text in texts])


def mine(source: EventSource, *texts: str) -> list[str]:
    """The data that came of these; other tests may publish to all meanwhile."""
    return [message.data for message in source.messages if message.data in texts]


def back(stack: Stack, user: str, base: str, source: EventSource, query: str = "") -> EventSource:
    """The same URL, with the last id that was dispatched, if any."""
    last = source.parser.last_event_id
    return stack.listen(user, query, base=base, headers={"Last-Event-ID": last} if last else {})


def cursor_is_real(source: EventSource) -> bool:
    return bool(source.cursors) and source.cursors[-1] != "0-0"


@pytest.mark.parametrize("query", SINCE)
def test_an_idle_tab_hears_what_another_tab_heard_meanwhile(stack: Stack, base: str, user: str, query: str) -> None:
    with stack.listen(user, query, base=base) as a, stack.listen(user, query, base=base) as b:
        a.wait(lambda source: source.cursors, "a cursor")
        a.close()
        say(stack, user, f"{user} E")
        b.wait(lambda source: mine(source, f"{user} E"), "the event")
        until(lambda: stack.get("/unread", stack.bearer(user)).json()["unread"] == 0, "the position to move")
        with back(stack, user, base, a, query) as again:
            again.wait(lambda source: mine(source, f"{user} E"), "the event that came meanwhile")
            say(stack, user, f"{user} F")
            again.wait(lambda source: mine(source, f"{user} F"), "the live one")
            assert mine(again, f"{user} E", f"{user} F") == [f"{user} E", f"{user} F"]
            assert not [message for message in again.messages if message.event == "gap"]


def test_the_first_block_is_a_cursor(stack: Stack, base: str, user: str) -> None:
    ids = say(stack, user, "a", "b", "c")
    say(stack, f"{user}-other", "so that the clock is beyond the backlog")
    with stack.listen(user, base=base) as source:
        source.wait(lambda source: cursor_is_real(source) and len(source.ids) >= 3, "the place where it goes live")
        assert source.spoken[0] == Message("0-0", "cursor", "")
        assert int(source.cursors[-1].split("-")[0]) >= int(ids[-1].split("-")[0])
    with stack.listen(user, base=base, headers={"Last-Event-ID": ids[1]}) as source:
        source.wait_ids(ids[2])
        assert source.spoken[0] == Message(ids[1], "cursor", "")
        assert source.parser.retry_ms is not None


def test_who_is_cut_after_the_first_block_hears_what_another_tab_read(stack: Stack, base: str, user: str) -> None:
    [read] = say(stack, user, "read")
    with stack.listen(user, base=base) as first:
        first.wait_ids(read)
    until(lambda: stack.get("/unread", stack.bearer(user)).json()["unread"] == 0, "the position to move")
    [unread] = say(stack, user, "unread")
    with stack.listen(user, base=base) as cut:
        cursor = cut.wait(lambda source: source.cursors, "the first block").cursors[0]
    with stack.listen(user, base=base) as other:  # has read it by now, or reads it
        until(lambda: stack.get("/unread", stack.bearer(user)).json()["unread"] == 0, "another tab to read it")
        other.close()
    with stack.listen(user, base=base, headers={"Last-Event-ID": cursor}) as again:
        again.wait_ids(unread)
        assert read not in again.ids


def test_to_come_back_with_nothing_is_as_at_the_first_time(start: Start, user: str) -> None:
    """Events of a topic that others once heard and that are gone by now are no loss to a newcomer."""
    stack = start(workers=1, keep_events=2)
    ids = stack.publish_many([{"topic": "t", "data": str(number)} for number in range(5)])
    for query in ("?topics=t", "?topics=t&since=earliest"):
        with stack.listen(user, query, headers={"Last-Event-ID": "0-0"}) as source:
            source.wait_ids(ids[-1])
            assert source.ids == ids[-2:]
            assert all(message.event != "gap" for message in source.messages)


def test_a_cursor_moves_no_unread_position(stack: Stack, base: str, user: str) -> None:
    with stack.listen(user, "?ack=manual", base=base) as source:
        source.wait(cursor_is_real, "the second cursor")
    assert stack.get("/unread", stack.bearer(user)).json()["id"] is None
    with stack.listen(user, "?since=now", base=base) as source:
        cursor = source.wait(cursor_is_real, "the cursor").cursors[0]
    position = stack.get("/unread", stack.bearer(user)).json()["id"]
    assert position in (None, *source.ids), f"not {cursor}"


@pytest.mark.parametrize("header", ["1665666647", "0", "null", "urn:uuid:1", "5-0, 5-0"])
def test_a_header_that_is_not_ours_is_a_reset(stack: Stack, base: str, user: str, header: str) -> None:
    ids = say(stack, user, "a", "b")
    with stack.listen(user, base=base, headers={"Last-Event-ID": header}) as source:
        source.wait_ids(*ids)
        gap = source.messages[0]
        assert gap.event == "gap"
        told = json.loads(gap.data)
        assert (told["requested"], told["reason"]) == (None, "reset")
        assert gap.id
        assert source.parser.retry_ms is not None
    with stack.listen(user, base=base, headers={"Last-Event-ID": gap.id}) as source:  # cut right after the gap
        source.wait_ids(*ids)
        assert all(message.event != "gap" for message in source.messages), "it is said once"


@pytest.mark.parametrize("name", ["lastEventId", "last-event-id", "last_event_id"])
def test_polyfills_spell_the_parameter_as_they_like(stack: Stack, user: str, name: str) -> None:
    a, b = say(stack, user, "a", "b")
    with stack.listen(user, f"?since=now&{name}={a}&r=0.5&_=7") as source:
        source.wait_ids(b)
        assert a not in source.ids
    with stack.listen(user, f"?{name}={a}&last_event_id={b}&{name}={a}") as source:
        [c] = say(stack, user, "c")
        source.wait_ids(c)
        assert not {a, b} & set(source.ids), "the newest counts"


def test_repeated_topics_add_up(stack: Stack, user: str) -> None:
    one, two = f"{user}-one", f"{user}-two"
    with stack.listen(user, f"?topics={one}&topics={two}") as source:
        ids = stack.publish_many([{"topic": topic, "data": "x"} for topic in (one, two)])
        source.wait_ids(*ids)


def test_a_ticket_says_where_to_begin(stack: Stack, user: str) -> None:
    """Ask for the ticket, read your own state, begin there: nothing missed, nothing repeated."""
    [before] = say(stack, user, "before")
    ticket = stack.post("/tickets", {"user": user}, stack.bearer(user)).json()
    [after] = say(stack, user, "after")
    with EventSource(f"{stack.url}{ticket['url']}&last_event_id={ticket['cursor']}") as source:
        source.wait_ids(after)
        assert before not in source.ids


def test_heartbeats_that_a_page_can_see(stack: Stack, base: str, user: str) -> None:
    with stack.listen(user, "?heartbeat=event", base=base) as source:
        source.wait(lambda source: sum(each.event == "heartbeat" for each in source.spoken) >= 2, "two heartbeats")
        assert all(each.data == "" for each in source.spoken)


@pytest.mark.parametrize("name", ["gap", "cursor", "refused", "heartbeat"])
def test_what_the_service_says_nobody_else_may(stack: Stack, user: str, name: str) -> None:
    answer = stack.post("/publish", {"user": user, "event": name, "data": "x"}, stack.bearer(publish=["*"]))
    assert (answer.status_code, [*answer.json()["errors"]]) == (400, ["event"])


def test_an_answer_says_its_cursor_before_the_first_token(
    answering: Stack, door: str, user: str, model: Model, until_live: Callable[[EventSource], object]
) -> None:
    model.script = words()
    begun = begin(answering, user, door)
    conversation = model.asked()
    with listen(answering, begun["url"], door) as source:
        until_live(source)
        last = source.parser.last_event_id
    conversation.say("Hello").done()
    with listen(answering, begun["url"], door, last) as source:
        assert said(finished(source)) == "Hello"
        assert source.cursors[0] == last


def test_an_answer_heard_by_who_brings_a_foreign_id(answering: Stack, door: str, user: str, model: Model) -> None:
    model.script = words("Hel")
    begun = begin(answering, user, door)
    conversation = model.asked()
    with listen(answering, begun["url"], door, "1665666647") as source:
        gap, first = source.wait_for(2)[:2]
        assert (gap.event, json.loads(gap.data)["requested"]) == ("gap", None)
        assert said([first]) == "Hel"
        conversation.say("lo").done()
        assert said(finished(source)[1:]) == "Hello"
    with listen(answering, begun["url"], door, "null") as source:
        assert said(finished(source)[1:]) == "Hello"
        assert source.messages[0].event == "gap"


def test_a_feed_says_its_cursor(answering: Stack, door: str, user: str, model: Model) -> None:
    model.script = words()
    url = f"{door}/v1/generations/events"
    with EventSource(url, answering.bearer(user)).wait_open() as source:
        last = source.wait(cursor_is_real, "the cursor").parser.last_event_id
    begun = begin(answering, user, door)
    with EventSource(url, answering.bearer(user) | {"Last-Event-ID": last}) as source:
        [news] = source.wait_for(1)
        assert json.loads(news.data)["id"] == begun["id"]
    cancel(answering, user, begun["id"])


@pytest.fixture
def until_live() -> Callable[[EventSource], object]:
    return lambda source: source.wait(lambda each: each.cursors, "a cursor")
