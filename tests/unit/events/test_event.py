"""Ids, names and publish items: properties that hold for every input, and a named refusal for every bad one."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushsvc.errors import Invalid, TooLarge
from pushsvc.events.event import Event, EventId
from pushsvc.events.names import MAX_TOPICS, checked_channel, checked_name, checked_topics, topic_channel, user_channel
from pushsvc.events.publication import MAX_EVENT_NAME, MAX_KEY, MAX_TTL, Limits, parse_publication

LIMITS = Limits(event_bytes=64, batch=3)

numbers = st.integers(0, 2**64 - 1)
ids = st.builds(EventId, numbers, numbers)
names = st.text(st.characters(exclude_categories=["Cc", "Cs", "Z"], exclude_characters=",*"), min_size=1, max_size=255)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip
fields = st.sampled_from(["user", "users", "topic", "all", "event", "data", "key", "ttl"])


@given(ids, ids)
def test_ids_order_as_their_numbers(one: EventId, other: EventId) -> None:
    assert (one < other) == ((one.ms, one.seq) < (other.ms, other.seq))
    assert (one == other) == (str(one) == str(other))


@given(ids)
def test_an_id_survives_its_text(event_id: EventId) -> None:
    assert EventId.parse(str(event_id)) == event_id
    assert EventId.from_redis(str(event_id).encode()) == event_id


@given(st.text())
def test_a_text_is_an_id_in_one_spelling_or_refused(text: str) -> None:
    try:
        event_id = EventId.parse(text, "after")
    except Invalid:
        return
    assert str(event_id) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "-", "1", "1-", "-1", "1-2-3", "a-b", "0x1-0", "1_0-0", "1.0-0", "+1-0", "1--1", "-1-1"),
        *("01-0", "0-00", " 1-0", "1-0 ", "1-0\n", "1-0\0", "1\n-0", "١-0", "²-0", "$", "*", "+"),  # noqa: RUF001
        *(f"{2**64}-0", f"0-{2**64}", "9" * 5000 + "-0"),
    ],
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        EventId.parse(text, "Last-Event-ID")
    assert [*caught.value.errors] == ["Last-Event-ID"]


@given(names)
def test_good_names_make_channels(name: str) -> None:
    assert checked_name(name, "user") == name
    for channel in (user_channel(name), topic_channel(name)):
        assert checked_channel(channel) == channel
    assert checked_topics([name, name]) == (f"topic:{name}",)


def test_a_name_may_hold_any_character_but_those_named() -> None:
    def refused(character: str) -> bool:
        try:
            checked_name(f"a{character}b", "user")
        except Invalid:
            return True
        return False

    wrong = {chr(n) for n in range(0x110000) if refused(chr(n))}
    assert wrong == {
        c for c in map(chr, range(0x110000)) if unicodedata.category(c) in ("Cc", "Cs", "Zs", "Zl", "Zp")
    } | {
        ",",
        "*",
    }
    assert {chr(n) for n in range(0xD800) if chr(n).isspace()} <= wrong


@pytest.mark.parametrize(
    "name",
    ["", "a b", "a*", "*", "a,b", "a\n", "\na", "a\0", "\x85", "\xa0", "a\u2028", "\ud83d", "x" * 256, None, 7, ["a"]],
)
def test_bad_names_are_refused_wherever_they_stand(name: Any) -> None:
    for refuse in (
        lambda: checked_name(name, "who"),
        lambda: user_channel(name, "who"),
        lambda: topic_channel(name, "who"),
        lambda: checked_topics([name], "who"),
        lambda: checked_channel(f"user:{name}" if isinstance(name, str) else "user:", "who"),
    ):
        with pytest.raises(Invalid) as caught:
            refuse()
        assert [*caught.value.errors] == ["who"]


@pytest.mark.parametrize("channel", ["", "user", "user:", "topic:", "all:", "ALL", "all ", "group:a", "user:a b", ":a"])
def test_what_is_no_channel_is_refused(channel: str) -> None:
    with pytest.raises(Invalid) as caught:
        checked_channel(channel)
    assert [*caught.value.errors] == ["channel"]


def test_topics_are_bounded_and_each_counted_once() -> None:
    assert checked_channel("all") == "all"
    assert checked_topics(["b", "a", "b"]) == ("topic:b", "topic:a")
    assert len(checked_topics([f"t{n}" for n in range(MAX_TOPICS)])) == MAX_TOPICS
    bad: list[object] = [[f"t{n}" for n in range(MAX_TOPICS + 1)], "a,b", None, {"a": 1}]
    for topics in bad:
        with pytest.raises(Invalid) as caught:
            checked_topics(topics)
        assert [*caught.value.errors] == ["topics"]


@pytest.mark.parametrize(
    ("item", "channels", "users"),
    [
        ({"user": "a"}, ["user:a"], None),
        ({"topic": "a"}, ["topic:a"], None),
        ({"all": True}, ["all"], None),
        ({"users": ["a", "b", "c"]}, ["user:a", "user:b", "user:c"], ("a", "b", "c")),
    ],
)
def test_each_target_names_its_channels(item: dict[str, Any], channels: list[str], users: tuple[str] | None) -> None:
    publication = parse_publication(item | {"data": "x"}, LIMITS)
    assert [event.channel for event in publication.events] == channels
    assert publication.users == users


def test_what_is_left_out_has_a_default_and_what_is_given_is_kept() -> None:
    assert parse_publication({"user": "a", "data": ""}, LIMITS).events == (Event("user:a", "message", ""),)
    full = {"user": "a", "event": "e", "data": {"id": [7, None]}, "key": "k", "ttl": 9}
    assert parse_publication(full, LIMITS, "k").events == (Event("user:a", "e", '{"id":[7,null]}', "k", 9),)
    assert parse_publication({"user": "a", "data": 1}, LIMITS, "head").events[0].key == "head"
    edges = {"user": "a", "event": "e" * MAX_EVENT_NAME, "data": "ä" * 32, "key": "k" * MAX_KEY, "ttl": MAX_TTL}
    event = parse_publication(edges, LIMITS).events[0]
    assert (event.name, event.data, event.key, event.ttl) == (edges["event"], "ä" * 32, edges["key"], MAX_TTL)


GOOD: dict[str, Any] = {"user": "a", "data": "x"}
NO_USERS: list[object] = [[], "a", None, {"a": 1}, ["a", "a"], ["a", 7], ["a b"]]
NO_EVENT_NAMES: list[object] = ["", "gap", "x" * 129, None, 7, ["a"]]
NO_TTLS: list[object] = [0, -1, True, False, 1.0, "1", [], MAX_TTL + 1]
NO_KEYS: list[object] = ["", "k" * 257, 7, False, ["a"], "a\nb", "a\n", "\x7f", "\0"]


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"user": "a", "topic": "b", "data": 1}, "topic"),
        ({"user": None, "all": True, "data": 1}, "user"),
        ({"data": 1}, "user"),
        ({"user": "a b", "data": 1}, "user"),
        ({"user": None, "data": 1}, "user"),
        ({"topic": "", "data": 1}, "topic"),
        *(({"all": value, "data": 1}, "all") for value in (False, 1, "true", None)),
        *(({"users": value, "data": 1}, "users") for value in NO_USERS),
        ({"user": "a"}, "data"),
        *((GOOD | {"event": value}, "event") for value in NO_EVENT_NAMES),
        *((GOOD | {"event": f"a{broken}b"}, "event") for broken in "\r\n\0"),
        *((GOOD | {"event": f"a{broken}"}, "event") for broken in "\r\n\0"),
        *((GOOD | {"ttl": value}, "ttl") for value in NO_TTLS),
        *((GOOD | {"key": value}, "key") for value in NO_KEYS),
        *((GOOD | {field: 1}, field) for field in ("tttl", "User", "channel", "id", "")),
    ],
)
def test_a_refusal_names_the_field(item: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_publication(item, LIMITS)
    assert field in caught.value.errors
    assert caught.value.detail


def test_two_targets_are_both_named() -> None:
    with pytest.raises(Invalid) as caught:
        parse_publication({"users": ["a"], "all": True, "data": 1}, LIMITS)
    assert {*caught.value.errors} == {"users", "all"}


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"user": "a", "data": "x" * 65}, "data"),
        ({"user": "a", "data": "ä" * 33}, "data"),  # 33 characters, 66 bytes
        ({"user": "a", "data": ["x" * 61]}, "data"),  # 65 bytes as JSON
        ({"users": ["a", "b", "c", "d"], "data": 1}, "users"),
    ],
)
def test_what_is_too_much_is_too_large(item: dict[str, Any], field: str) -> None:
    with pytest.raises(TooLarge) as caught:
        parse_publication(item, LIMITS)
    assert [*caught.value.errors] == [field]


@pytest.mark.parametrize(
    ("key", "header", "field"),
    [
        ("one", "two", "key"),
        (7, "7", "key"),
        (None, "", "Idempotency-Key"),
        (None, "k" * 257, "Idempotency-Key"),
        (None, "a\x01b", "Idempotency-Key"),
    ],
)
def test_a_bad_or_differing_header_is_named(key: object, header: str, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_publication(GOOD | {"key": key}, LIMITS, header)
    assert [*caught.value.errors] == [field]


@pytest.mark.parametrize("item", [None, True, 7, 1.5, "text", [], [GOOD]])
def test_only_an_object_is_an_event(item: object) -> None:
    with pytest.raises(Invalid, match="object"):
        parse_publication(item, LIMITS)


def accepted_or_refused(item: object, header: str | None) -> None:
    """Check that the item is taken or refused, with no other exception, and that nothing taken could harm the wire."""
    try:
        publication = parse_publication(item, LIMITS, header)
    except (Invalid, TooLarge):
        return
    assert publication.events
    for event in publication.events:
        assert checked_channel(event.channel) == event.channel
        assert not set(event.name) & set("\r\n\0")
        assert event.name != "gap"
        assert len(event.data.encode()) <= LIMITS.event_bytes


@given(json_values, st.none() | st.text())
def test_any_json_is_accepted_or_refused(item: object, header: str | None) -> None:
    accepted_or_refused(item, header)


@given(st.dictionaries(fields, json_values | names | st.lists(names)), st.none() | st.text())
def test_any_json_in_the_known_fields_is_accepted_or_refused(item: dict[str, Any], header: str | None) -> None:
    accepted_or_refused(item, header)


@given(fields, json_values)
def test_any_json_in_one_field_of_a_good_event_is_accepted_or_refused(field: str, value: object) -> None:
    accepted_or_refused(GOOD | {field: value}, None)
