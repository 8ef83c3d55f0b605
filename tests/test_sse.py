"""The wire, read back by an independent parser of the HTML standard: what goes in comes out, and nothing else."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pushsvc import sse
from pushsvc.errors import Invalid
from pushsvc.event import EventId
from tests.eventsource import Message, Parser

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
        *("😀", "id: 9-9\n", "retry: 1\r", "event: gap\n", "data: x\r\n", "\ndata", "message", ": open"),
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
    """Neither an id, nor a reconnection time, nor a second event, nor a comment."""
    before = sse.opening(1234, EventId(5, 5))
    parser, messages = parse(before + sse.frame(name, data))
    assert (parser.last_event_id, parser.retry_ms, parser.comments) == ("5-5", 1234, ["open"])
    assert messages == [Message("5-5", name, normalised(data))]


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
    """What Redis keeps and the hub counts is LF alone, and an empty line stands at the end and nowhere else."""
    raw = sse.frame("message", data)
    assert b"\r" not in raw
    assert raw.index(b"\n\n") == len(raw) - 2


@given(st.integers(0, 10**9), ids)
def test_an_opening_sets_the_cursor_and_dispatches_nothing(retry_ms: int, cursor: EventId) -> None:
    parser, messages = parse(sse.opening(retry_ms, cursor))
    assert (parser.retry_ms, parser.last_event_id, parser.comments) == (retry_ms, str(cursor), ["open"])
    assert messages == []
    plain, messages = parse(sse.opening(retry_ms))
    assert (plain.retry_ms, plain.last_event_id, plain.comments, messages) == (retry_ms, "", ["open"], [])


def test_a_heartbeat_is_a_comment_and_keeps_the_cursor() -> None:
    parser, messages = parse(sse.opening(1, EventId(7, 0)) + sse.HEARTBEAT)
    assert (parser.comments, parser.last_event_id, messages) == (["open", ""], "7-0", [])


def test_a_retry_is_a_new_reconnection_time_and_nothing_else() -> None:
    parser, messages = parse(sse.opening(1, EventId(7, 0)) + sse.retry(4321))
    assert (parser.retry_ms, parser.last_event_id, messages) == (4321, "7-0", [])


@given(ids, st.none() | ids, st.sampled_from(["trimmed", "expired", "reset"]), st.none() | ids)
def test_a_gap_says_what_is_missing(
    requested: EventId, oldest: EventId | None, reason: str, event_id: EventId | None
) -> None:
    parser, (message,) = parse(sse.opening(1, EventId(7, 0)) + sse.gap(requested, oldest, reason, event_id))
    assert message.event == "gap"
    assert json.loads(message.data) == {
        "requested": str(requested),
        "oldest": None if oldest is None else str(oldest),
        "reason": reason,
    }
    assert parser.last_event_id == message.id == str(event_id or "7-0")


@given(ids, ids)
def test_the_header_wins_over_the_parameter(header: EventId, parameter: EventId) -> None:
    assert sse.last_event_id(str(header), str(parameter)) == header
    assert sse.last_event_id(str(header), "nonsense") == header
    for empty in (None, ""):
        assert sse.last_event_id(empty, str(parameter)) == parameter
        assert sse.last_event_id(empty, "") is None


@pytest.mark.parametrize(
    ("header", "parameter", "named"),
    [("x", "1-0", "Last-Event-ID"), (None, "x", "last_event_id"), ("", "x", "last_event_id")],
)
def test_the_bad_cursor_is_named(header: str | None, parameter: str, named: str) -> None:
    with pytest.raises(Invalid) as caught:
        sse.last_event_id(header, parameter)
    assert [*caught.value.errors] == [named]
