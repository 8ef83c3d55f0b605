"""Names of users and topics as identity providers make them, through every door; and the keys they get in Redis."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushsvc.delivery.subscriber import Subscriber
from pushsvc.delivery.transports.queued import QueuedTransport
from pushsvc.events.event import BEGINNING
from pushsvc.events.names import MAX_TOPICS, answer_channel, topic_channel, user_channel
from pushsvc.llm.listening import answer_subscriber
from pushsvc.storage.redis.keys import Keys
from tests.support.clients.eventsource import EventSource
from tests.support.stack import SECRET, Stack

NAMES = [
    "auth0|5f7c",
    "urn:uuid:4f0cbf9a-8d5c-4b0e-9f0c-1a2b3c4d5e6f",
    "müller@example.com",
    "o'brien@example.com",
    "a/b?c=d&e#f%67+g;h==",
    "{0}}{",
    'quo"te\\s$(x)`<b>',
    "می\u200cخواهم",  # noqa: RUF001
    "\ufeff\u202e李雷😀",
    "answer:gen_1",
    "-",
    "😀" * 255,
]


def publisher(stack: Stack) -> dict[str, str]:
    return stack.bearer(publish=["*"])


@pytest.mark.parametrize("name", NAMES)
def test_a_user_of_that_name_hears_reads_and_acknowledges(stack: Stack, base: str, name: str) -> None:
    mine, before = stack.bearer(name), stack.publish(user=name)
    with EventSource(f"{base}/events?last_event_id={before}", mine).wait_open() as source:
        items = [{"users": [name, "bystander"], "data": 1}, {"user": name, "data": 2}]
        many, one = stack.post("/publish", items, publisher(stack)).json()["results"]
        assert many["results"][0]["user"] == name
        ids = [many["results"][0]["id"], one["id"]]
        source.wait_ids(*ids)
    history = stack.get("/history", mine, channel=f"user:{name}", after=before).json()
    assert [event["id"] for event in history["events"]] == ids
    assert stack.post("/ack", {"id": one["id"]}, mine).json()["id"] == one["id"]


@pytest.mark.parametrize("name", NAMES[:-1])
def test_topics_of_that_name_in_urls_tickets_and_patterns(stack: Stack, base: str, user: str, name: str) -> None:
    topics = [f"{name}/{user}", f"{user}/{name}"]
    rights = stack.bearer(subscribe=["user:*", f"topic:{topics[0]}*", f"topic:{topics[1]}"])
    ticket = stack.post("/tickets", {"user": f"{user}:{name}", "topics": topics}, rights).json()
    query = ",".join(quote(topic, safe="") for topic in topics)
    with (
        EventSource(f"{base}/events?topics={query}", stack.bearer(name, subscribe=["*"])) as by_token,
        EventSource(f"{base}{ticket['url']}") as by_ticket,
    ):
        mine = stack.bearer(publish=[f"topic:{topics[0]}", f"topic:{topics[1][:-1]}*"])
        sources = [source.wait_open() for source in (by_token, by_ticket)]
        results = stack.post("/publish", [{"topic": topic, "data": 1} for topic in topics], mine).json()["results"]
        for source in sources:
            source.wait_ids(*(result["id"] for result in results))
        assert stack.post("/publish", {"topic": f"{topics[0]}x", "data": 1}, mine).status_code == 403


def test_a_ticket_takes_as_many_and_as_long_topics_as_may_be(stack: Stack, user: str) -> None:
    topics = [chr(0x1F600 + number) * 255 for number in range(MAX_TOPICS)]
    answer = stack.post("/tickets", {"user": user, "topics": topics}, stack.bearer(subscribe=["*"]))
    body = json.dumps({"user": user, "topics": topics}).encode()  # with each character as two escapes of six bytes
    headers = stack.bearer(subscribe=["*"]) | {"Content-Type": "application/json"}
    escaped = httpx.post(f"{stack.url}/tickets", content=body, headers=headers, trust_env=False)
    assert (answer.status_code, escaped.status_code) == (200, 200)
    with EventSource(f"{stack.url}{escaped.json()['url']}").wait_open() as source:
        source.wait_ids(stack.publish(topic=topics[-1]))


def test_two_spellings_that_look_alike_are_two_users(stack: Stack) -> None:
    names = ("jürgen", "ju\u0308rgen")
    with stack.listen(names[0]) as one, stack.listen(names[1]) as other:
        ids = [stack.publish(user=name) for name in names]
        one.wait_ids(ids[0])
        other.wait_ids(ids[1])
        assert (ids[1] in one.ids, ids[0] in other.ids) == (False, False)


@pytest.mark.parametrize("sub", ["", "a b", "a,b", "*", "a\n", "\ud83d", "x" * 256, 7, ["a"], {"a": 1}])
@pytest.mark.parametrize("path", ["/unread", "/events", "/history?channel=all"])
def test_a_valid_token_of_an_impossible_subject_is_told_so(stack: Stack, path: str, sub: Any) -> None:
    token = jwt.api_jws.encode(json.dumps({"sub": sub}).encode(), SECRET, "HS256")
    answer = httpx.get(f"{stack.url}{path}", headers={"Authorization": f"Bearer {token}"}, trust_env=False)
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
    assert answer.json()["detail"].startswith("The token is valid, but its sub: must be 1 to 255 characters")


@pytest.mark.parametrize("query", [b"topics=m%FCller", b"topics=a%ed%a0%bd", b"topics=%80"])
def test_bytes_that_are_no_text_are_refused_and_name_nobody(stack: Stack, base: str, query: bytes) -> None:
    url = httpx.URL(f"{base}/events").copy_with(query=query)
    answer = httpx.get(url, headers=stack.bearer("alice", subscribe=["*"]), trust_env=False)
    assert (answer.status_code, answer.json()["detail"]) == (400, "The query is not valid UTF-8, percent-encoded.")


# Keys

words = st.text(st.sampled_from("a:1{}"), min_size=1, max_size=6)


def keys_with(name: str, key: str) -> list[str]:
    keys = Keys(3, 16)
    return [
        keys.dedupe(user_channel(name), key),
        keys.dedupe(topic_channel(name), key),
        keys.generation_key(name, key),
    ]


@given(words, words, words, words)
def test_no_two_names_and_keys_share_a_key_in_redis(name: str, key: str, other: str, other_key: str) -> None:
    distinct = {*keys_with(name, key), *keys_with(other, other_key), Keys(3, 16).dedupe("all", key)}
    assert len(distinct) == (4 if (name, key) == (other, other_key) else 7)


def test_a_name_changes_no_slot_and_old_names_keep_their_keys() -> None:
    keys = Keys(3, 16)
    prefix = f"pushsvc{{{keys.tag}}}:"
    for name in NAMES:
        assert all(each.startswith(prefix) for each in [*keys_with(name, "}{1}"), keys.log(f"user:{name}")])
    assert keys_with("a.b@c_d+e-f", "k:1") == [
        f"{prefix}key:user:a.b@c_d+e-f:k:1",
        f"{prefix}key:topic:a.b@c_d+e-f:k:1",
        f"{prefix}gen-key:a.b@c_d+e-f:k:1",
    ]
    assert keys.dedupe("all", "k:1") == f"{prefix}key:all:k:1"


def test_a_user_called_as_an_answer_does_not_count_as_who_listens_to_it() -> None:
    channel = answer_channel("gen_1")
    listener = answer_subscriber("gen_1", BEGINNING, QueuedTransport(1))
    users = [Subscriber(name, [], BEGINNING, QueuedTransport(1)) for name in ("plain", channel, f"user:{channel}")]
    assert (listener.counted_as, users[0].counted_as) == (channel, "plain")
    assert len({each.counted_as for each in (listener, *users)}) == 4
