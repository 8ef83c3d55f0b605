"""The one parser of server-sent events: whole events, whatever pieces they come in."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushsvc.client.sse import Message, Parser, TooLong
from pushsvc.events import sse

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def parsed(raw: bytes, cuts: list[int]) -> tuple[Parser, list[Message]]:
    parser, at = Parser("0-0"), 0
    found = []
    for cut in [*sorted(min(cut, len(raw)) for cut in cuts), len(raw)]:
        found += parser.feed(raw[at:cut])
        at = cut
    return parser, found


@given(st.lists(st.tuples(TEXT, TEXT.filter(lambda name: not set(name) & set("\r\n\0"))), max_size=5), st.data())
def test_what_the_service_writes_is_read_in_any_pieces(told: list[tuple[str, str]], data: st.DataObject) -> None:
    raw = b"".join(
        b"id: %d-0\n" % number + sse.frame(name or "message", text) for number, (text, name) in enumerate(told)
    )
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=12))
    parser, found = parsed(raw, cuts)
    assert [each.name for each in found] == [name or "message" for _, name in told]
    assert [each.data for each in found] == [text.replace("\r\n", "\n").replace("\r", "\n") for text, _ in told]
    assert [each.id for each in found] == [f"{number}-0" for number in range(len(told))]
    assert parser.last_event_id == (found[-1].id if found else "0-0")


@given(
    st.lists(st.sampled_from(["data: a", "data", "id: 7-0", "event: e", ": c", "\r", "\n", "\r\n", "\n\n", "id: \0"])),
    st.data(),
)
def test_pieces_make_no_difference_to_any_bytes(words: list[str], data: st.DataObject) -> None:
    raw = "".join([*words, "\n\n"]).encode()
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=8))
    blocks = re.split("\n\n", re.sub("\r\n|\r", "\n", raw.decode()))
    data_of = [
        "\n".join(re.findall("^data(?:$|: ?)(.*)$", block, re.M))
        for block in blocks
        if re.search("^data(:|$)", block, re.M)
    ]
    assert [each.data for each in parsed(raw, cuts)[1]] == data_of


def test_an_id_counts_with_its_event_and_comments_are_told_at_once() -> None:
    comments: list[str] = []
    parser = Parser("1-0", on_comment=comments.append)
    assert parser.feed(b"\xef\xbb\xbf: beat\nid: 2-0\n\nid: 3") == []
    assert (parser.last_event_id, comments) == ("1-0", ["beat"])
    assert parser.feed(b"-0\nretry: 5\ndata:\n\ndata: x\n\n") == [
        Message("3-0", "message", "", True), Message("3-0", "message", "x", False),
    ]  # fmt: skip
    assert (parser.last_event_id, parser.retry_ms) == ("3-0", 5)


@pytest.mark.parametrize("piece", [b"data: aaaaaa\n", b"a"])
def test_an_event_without_an_end_is_not_kept(piece: bytes) -> None:
    parser = Parser(most=100)
    with pytest.raises(TooLong):
        list(map(parser.feed, [piece] * 200))


def test_heartbeats_are_of_no_event() -> None:
    parser = Parser(most=100)
    for _ in range(200):
        assert parser.feed(b":\n") == []
    assert [each.id for each in parser.feed(b"id: 5-0\ndata: x\n\n")] == ["5-0"]
