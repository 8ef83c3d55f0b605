"""The wire, read back by an independent parser of the HTML standard: what goes in comes out, and nothing else."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pushsvc.events import sse
from pushsvc.events.event import EventId
from tests.support.clients.eventsource import Message, Parser

numbers = st.integers(0, 2**64 - 1)
ids = st.builds(EventId, numbers, numbers)
# What has a meaning to some parser, thrown in often.
traps = st.sampled_from(
    [
        *(
            "\r",
            "\n",
            "\r\n",
            "\n\n",
            "\0",
            ":",
            " ",
            "  ",
            "\u2028",
            "\u2029",
            "\x85",
            "\x0b",
            "\x0c",
            "\x1e",
            "\ufeff",
        ),
        *("😀", "id: 9-9\n", "retry: 1\r", "event: gap\n", "data: x\r\n", "\ndata", "message", "event: cursor"),
    ]
)
texts = st.lists(traps | st.text(max_size=5), max_size=12).map("".join)
event_names = texts.map(lambda text: re.sub("[\r\n\0]", "", text)).filter(bool)


def parse(raw: bytes, cuts: list[int] | None = None) -> tuple[Parser, list[Message]]:
    """Everything a browser makes of `raw`, that arrives cut into pieces."""
    parser, text = Parser(), raw.decode()
    places = sorted({cut % (len(text) + 1) for cut in cuts or []} | {0, len(text)})
    pieces = [text[start:end] for start, end in pairwise(places)]
    return parser, [message for piece in pieces for message in parser.feed(piece)]


def normalised(data: str) -> str:
    return data.replace("\r\n", "\n").replace("\r", "\n")


@given(ids, event_names, texts, st.lists(st.integers(0, 10_000), max_size=8))
@example(EventId(1, 0), "message", "", [])
@example(EventId(1, 0), " a: b", " leading\r\r\n\n", [5])
def test_what_goes_in_comes_out(event_id: EventId, name: str, data: str, cuts: list[int]) -> None:
    raw = sse.with_id(str(event_id).encode(), sse.frame(name, data))
    _, messages = parse(raw, cuts)
    assert messages == [Message(str(event_id), name, normalised(data))]


@given(event_names, texts)
def test_no_text_injects_a_field(name: str, data: str) -> None:
    """No text makes an id, a reconnection time, a second event or a comment."""
    before = sse.cursor(EventId(5, 5), 1234)
    parser, messages = parse(before + sse.frame(name, data))
    assert (parser.last_event_id, parser.retry_ms, parser.comments) == ("5-5", 1234, [])
    assert messages[1:] == [Message("5-5", name, normalised(data))]


@given(st.lists(st.tuples(ids, event_names, texts), max_size=5), st.lists(st.integers(0, 10_000), max_size=8))
def test_events_one_after_the_other_stay_apart(events: list[tuple[EventId, str, str]], cuts: list[int]) -> None:
    raw = b"".join(sse.with_id(str(event_id).encode(), sse.frame(name, data)) for event_id, name, data in events)
    _, messages = parse(sse.HEARTBEAT + raw + sse.HEARTBEAT, cuts)
    assert messages == [Message(str(event_id), name, normalised(data)) for event_id, name, data in events]


@given(event_names, texts)
def test_a_frame_can_be_read_back(name: str, data: str) -> None:
    assert sse.read_event(sse.frame(name, data)) == (name, normalised(data))


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\r\nid: 1-1", "\n"])
def test_a_name_with_a_line_break_makes_no_frame(name: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        sse.frame(name, "data")


@given(texts)
def test_a_frame_has_one_spelling_of_a_line_end(data: str) -> None:
    """The line end that Redis keeps and the hub counts is LF alone, and an empty line stands at the end and nowhere
    else."""
    raw = sse.frame("message", data)
    assert b"\r" not in raw
    assert raw.index(b"\n\n") == len(raw) - 2


@given(st.integers(0, 10**9), ids)
def test_a_cursor_moves_the_place_also_where_only_events_do(retry_ms: int, cursor: EventId) -> None:
    raw = sse.cursor(cursor, retry_ms)
    parser, messages = parse(raw)
    assert (parser.retry_ms, parser.last_event_id) == (retry_ms, str(cursor))
    assert messages == [Message(str(cursor), "cursor", "")]
    assert raw.count(b"\n\n") == 1, "no block without an event: some clients take one for a message"


def test_a_heartbeat_is_a_line_and_keeps_the_cursor() -> None:
    parser, messages = parse(sse.cursor(EventId(7, 0)) + sse.HEARTBEAT)
    assert (parser.comments, parser.last_event_id, len(messages)) == ([""], "7-0", 1)
    assert b"\n\n" not in sse.HEARTBEAT


def test_a_heartbeat_that_a_page_can_see_keeps_the_cursor() -> None:
    _, messages = parse(sse.cursor(EventId(7, 0)) + sse.HEARTBEAT_EVENT)
    assert messages[1:] == [Message("7-0", "heartbeat", "")]


def test_a_refusal_says_why_and_when_to_come_back_and_keeps_the_cursor() -> None:
    problem = {"type": "about:blank", "title": "Unavailable", "status": 503, "detail": "Later\nplease."}
    raw = sse.refused(problem, 4321)
    parser, messages = parse(sse.cursor(EventId(7, 0)) + raw)
    assert (parser.retry_ms, parser.last_event_id, messages[1].event) == (4321, "7-0", "refused")
    assert json.loads(messages[1].data) == problem
    assert raw.count(b"\n\n") == 1


@given(st.none() | ids, st.none() | ids, st.sampled_from(["trimmed", "expired", "reset"]), st.none() | ids)
def test_a_gap_says_what_is_missing(
    requested: EventId | None, oldest: EventId | None, reason: str, event_id: EventId | None
) -> None:
    parser, (_, message) = parse(sse.cursor(EventId(7, 0), 1) + sse.gap(requested, oldest, reason, event_id))
    assert message.event == "gap"
    assert json.loads(message.data) == {
        "requested": None if requested is None else str(requested),
        "oldest": None if oldest is None else str(oldest),
        "reason": reason,
    }
    assert parser.last_event_id == message.id == str(event_id or "7-0")
