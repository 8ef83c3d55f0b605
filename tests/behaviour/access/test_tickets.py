"""A ticket's stream comes back also where no cookie does: its ids carry a proof."""

from __future__ import annotations

import random
import re
import threading
import time

import pytest

from pushsvc import auth
from pushsvc.storage.redis.keys import ALONE
from tests.conftest import Start
from tests.support.clients.eventsource import DEADLINE, EventSource
from tests.support.clients.ticket_streams import digest, make_stale, status, url_of, used
from tests.support.models.completions import ASK
from tests.support.models.model import HEAD, Conversation, Model
from tests.support.stack import SECRET, Stack
from tests.support.tokens import new_ticket

FRIEND = "https://app.example.com"
PROVEN = re.compile(r"[0-9]+-[0-9]+~[A-Za-z0-9_-]{1,64}")
# How a request says that cookies may not come back: the headers, and what is added to the ticket's URL.
WITHOUT_COOKIES: dict[str, tuple[dict[str, str], str]] = {
    "another site": ({"Sec-Fetch-Site": "cross-site", "Origin": FRIEND}, ""),
    "another origin": ({"Sec-Fetch-Site": "same-site", "Origin": FRIEND}, ""),
    "nobody says": ({}, ""),
    "a foreign frame": ({"Sec-Fetch-Site": "same-origin"}, "&resume=id"),
}


@pytest.fixture
def friendly(shared: Start, worker: str) -> Stack:
    return shared(worker=worker, workers=2, allowed_origins=FRIEND)


@pytest.mark.parametrize("site", WITHOUT_COOKIES)
def test_it_comes_back_without_cookies(friendly: Stack, user: str, site: str) -> None:
    headers, query = WITHOUT_COOKIES[site]
    url = url_of(friendly, user, topics=[f"{user}.t"]) + query
    with EventSource(url, headers, reconnect=True, cookies=False) as source:
        source.wait_open()
        ids = [friendly.publish(user=user)]
        source.wait_ids(*ids)
        for _ in range(3):
            source.cut()
            ids.append(friendly.publish(topic=f"{user}.t"))
            source.wait_ids(*ids)
            ids.append(friendly.publish(user=user))
            source.wait_ids(*ids)
        assert source.ids == ids, "each once, in order"
        assert set(source.statuses) == {200}
        proven = [message.id for message in source.messages]
        assert all(map(PROVEN.fullmatch, proven))
        assert len({each.partition("~")[2] for each in proven}) == 1


@pytest.mark.every_redis
def test_it_comes_back_before_it_heard_anything(stack: Stack, base: str, user: str) -> None:
    with EventSource(f"{url_of(stack, user, base)}&since=now", reconnect=True, cookies=False) as source:
        source.wait_open()
        for _ in range(3):
            source.cut()
            source.wait_ids(stack.publish(user=user))
        assert set(source.statuses) == {200}


@pytest.mark.every_redis
def test_where_cookies_come_back_ids_are_clean(stack: Stack, base: str, user: str) -> None:
    own = {"Sec-Fetch-Site": "same-origin"}
    first = url_of(stack, user, base)
    with EventSource(first, own) as source:
        cookie = {"Cookie": source.wait_open().headers["set-cookie"].split(";")[0]}
        event_id = stack.publish(user=user)
        assert source.wait_ids(event_id).last_id == event_id
    for url, headers in (
        (first, own | cookie | {"Last-Event-ID": event_id}),
        (first, cookie | {"Last-Event-ID": event_id}),
        (url_of(stack, user, base), cookie),
        (f"{base}/events?resume=id", stack.bearer(user)),
        (f"{first}&resume=id", stack.bearer(user)),
    ):
        with EventSource(url, headers) as source:
            source.wait_open()
            event_id = stack.publish(user=user)
            assert source.wait_ids(event_id).last_id == event_id


def test_a_cookie_that_comes_back_after_all_is_enough(stack: Stack, user: str) -> None:
    url = url_of(stack, user)
    proof, cookie = used(url)
    with EventSource(url, {"Cookie": cookie, "Last-Event-ID": f"1-0~{proof}x"}) as source:
        source.wait_open()
        event_id = stack.publish(user=user)
        assert source.wait_ids(event_id).last_id == event_id


@pytest.mark.every_redis
def test_only_the_proof_itself_is_one(stack: Stack, user: str) -> None:
    url, event_id = url_of(stack, user), stack.publish(user=user)
    proof, cookie = used(url)
    other, _ = used(url_of(stack, user))
    stranger, _ = used(url_of(stack, f"{user}-other"))
    make_stale(stack, user, url)
    swapped = proof[:-1] + ("A" if proof[-1] != "A" else "B")
    near = [f"~{proof}A", f"~{proof[:-1]}", f"~{swapped}", f"~~{proof}", f"~{proof}~", f"~{proof},{proof}", proof]
    for each in ["", "~", "~AAAA", "~" + "A" * 65, f"~{other}", f"~{stranger}", *near]:
        assert status(url, Last_Event_ID=event_id + each) == 401, each
        assert status(url, Last_Event_ID=event_id + each, Cookie=cookie) == 200, each
    assert status(url) == 401
    assert status(url.replace("ticket=", "ticket=x"), Last_Event_ID=f"{event_id}~{proof}") == 401
    assert status(url, Last_Event_ID=f"{event_id}~{proof}") == 200


def test_a_proof_counts_whatever_stands_before_it(stack: Stack, user: str) -> None:
    url = url_of(stack, user)
    proof, _ = used(url)
    event_id = stack.publish(user=user)
    for before in ("", "0", "null", f"{2**64}-0"):
        with EventSource(url, {"Last-Event-ID": f"{before}~{proof}"}) as source:
            source.wait_ids(event_id)


def test_it_gives_what_the_ticket_gave(stack: Stack, user: str) -> None:
    url = url_of(stack, user, topics=["a"])
    proof, _ = used(url)
    assert status(f"{url}&topics=a", Last_Event_ID=f"1-0~{proof}") == 200
    assert status(f"{url}&topics=b", Last_Event_ID=f"1-0~{proof}") == 403
    assert status(f"{stack.url}/events", Last_Event_ID=f"1-0~{proof}") == 401
    assert stack.get("/unread", {"Last-Event-ID": f"1-0~{proof}"}).status_code == 401


@pytest.mark.every_redis
@pytest.mark.parametrize("name", ["last_event_id", "lastEventId", "last-event-id", "after", "before"])
def test_a_proof_that_stood_in_a_url_is_dead(stack: Stack, user: str, name: str) -> None:
    url, event_id = url_of(stack, user), stack.publish(user=user)
    proof, cookie = used(url)
    missed = stack.publish(user=user)
    shown = f"{name}={event_id}~{proof}"
    if name in ("after", "before"):
        answer = stack.get(f"/history?channel=user:{user}&{shown}", stack.bearer(user))
        assert [event["id"] for event in answer.json()["events"]] == ([missed] if name == "after" else [])
    else:
        with EventSource(f"{url_of(stack, user)}&{shown}") as source:
            assert source.wait_ids(missed).ids == [missed]
    make_stale(stack, user, url)
    assert status(url, Last_Event_ID=f"{event_id}~{proof}") == 401
    assert status(url, Last_Event_ID=f"{event_id}~{proof}", Cookie=cookie) == 200


def test_so_is_one_whose_request_was_refused(stack: Stack, user: str) -> None:
    url = url_of(stack, user)
    proof, _ = used(url)
    make_stale(stack, user, url)
    assert status(f"{url}&last_event_id=1-0%7E{proof}") == 401
    assert status(url, Last_Event_ID=f"1-0~{proof}") == 401


@pytest.mark.every_redis
def test_an_acknowledgement_needs_nothing_else(stack: Stack, user: str) -> None:
    url = f"{url_of(stack, user)}&ack=manual"
    ids = [stack.publish(user=user) for _ in range(3)]
    with EventSource(url, cookies=False) as source:
        source.wait_ids(*ids)
        first = next(message.id for message in source.messages if message.id.startswith(f"{ids[0]}~"))
    assert PROVEN.fullmatch(first)
    answer = stack.post("/ack", {"id": first}, {})
    assert (answer.status_code, answer.json()) == (200, {"unread": 2, "id": ids[0]})
    assert stack.post("/ack", {"id": f"{ids[1]}~AAAA"}, {}).status_code == 401
    assert stack.post("/ack", {"id": ids[1]}, {}).status_code == 401
    assert stack.post("/ack", {"id": f"nonsense~{first.partition('~')[2]}"}, {}).status_code == 400
    answer = stack.post("/ack", {"id": f"{ids[1]}~AAAA"}, stack.bearer(user))
    assert (answer.status_code, answer.json()) == (200, {"unread": 1, "id": ids[1]})


@pytest.mark.every_script
def test_each_return_renews(stack: Stack, user: str) -> None:
    url = url_of(stack, user)
    proof, _ = used(url)
    redis = stack.redis
    keys = [*redis.scan_iter("*spent:*"), *redis.scan_iter("*proof:*")]
    for key in keys:
        redis.expire(key, 1000)
    with EventSource(url, {"Last-Event-ID": f"1-0~{proof}"}) as source:
        assert "Max-Age=43200" in source.wait_open().headers["set-cookie"]
    assert sum(redis.ttl(key) > 43_000 for key in keys) == 3, "the spent ticket, its proof's digest, and the way back"


def test_what_redis_holds_opens_nothing(stack: Stack, user: str) -> None:
    url = url_of(stack, user)
    proof, cookie = used(url)
    secrets = [url.partition("=")[2].encode(), proof.encode(), cookie.encode(), cookie.partition("=")[2].encode()]
    for key in stack.redis.scan_iter("*"):
        held = key + (stack.redis.dump(key) or b"")  # some last for a moment
        assert not any(secret in held for secret in secrets), key


def test_a_flushed_redis_ends_both(start: Start, user: str) -> None:
    stack = start(workers=1)
    url = url_of(stack, user)
    proof, cookie = used(url)
    stack.redis.flushall()
    assert status(url, Last_Event_ID=f"1-0~{proof}") == 401
    assert status(url, Cookie=cookie) == 401


def test_what_the_last_version_spent_goes_on(stack: Stack, user: str) -> None:
    url = url_of(stack, user)
    stack.redis.rename(ALONE.ticket(digest(url)), ALONE.spent_ticket(digest(url)))
    _, name_and_value = used(url_of(stack, user))
    old = auth.encode({"sub": user}, auth.derived_key(SECRET, "session"), ttl=3600)
    cookie = f"{name_and_value.partition('=')[0]}={old}"
    assert status(url) == 401
    with EventSource(url, {"Cookie": cookie}) as source:
        source.wait_open()
        source.wait_ids(stack.publish(user=user))


def test_so_does_an_answer_s_stream(answering: Stack, model: Model, door: str, user: str) -> None:
    go_on = threading.Event()

    def script(talk: Conversation) -> None:
        talk.send(HEAD).say("one ")
        go_on.wait(DEADLINE)
        talk.say("two ").done()

    model.script = script
    begun = answering.post("/v1/generations", ASK, answering.bearer(user)).json()
    ticket = new_ticket(answering, answering.bearer(subscribe=["*"]), user=user)["ticket"]
    url = f"{door}/v1/generations/{begun['id']}/events?ticket={ticket}"
    with EventSource(url, reconnect=True, cookies=False) as source:
        source.wait_for(1)
        source.cut()
        go_on.set()
        source.wait(lambda source: source.closed, "the end, at which there is nothing more")
        assert (source.data[-1], source.statuses) == ("[DONE]", [200, 200, 204])
        assert all(PROVEN.fullmatch(message.id) for message in source.messages)
    with EventSource(url, {"Last-Event-ID": f"0-0~{source.last_id.partition('~')[2]}"}) as over:
        over.wait(lambda source: "[DONE]" in source.data, "what was said")
        assert all(PROVEN.fullmatch(message.id) for message in over.messages)
    with EventSource(answering.url + begun["url"]) as reading:
        reading.wait(lambda source: "[DONE]" in source.data, "what was said")
        assert not any("~" in message.id for message in reading.messages)


def test_an_answer_s_own_url_works_beside_what_is_not_for_us(answering: Stack, user: str) -> None:
    begun = answering.post("/v1/generations", ASK, answering.bearer(user)).json()
    for value in ("Basic YTpi", "", "Bearer nonsense"):
        assert status(answering.url + begun["url"], Authorization=value) == 200


def test_many_through_random_cuts_hear_each_event_once(stack: Stack, base: str, user: str) -> None:
    chance = random.Random(7)
    urls = [url_of(stack, f"{user}-{number}", base, topics=[f"{user}.t"]) for number in range(6)]
    sources = [EventSource(url, reconnect=True, cookies=False).wait_open() for url in urls]
    ids: list[str] = []
    for _ in range(15):
        ids += stack.publish_many([{"topic": f"{user}.t", "data": "x" * chance.randrange(2000)} for _ in range(4)])
        for source in chance.sample(sources, 2):
            source.cut()
    for source in sources:
        heard = source.wait_ids(*ids).ids  # and what other tests publish to all
        assert [each for each in heard if each in ids] == ids
        assert set(source.statuses) == {200}
        source.close()


def test_an_unspent_ticket_ends_with_the_token_it_was_made_with(stack: Stack, user: str) -> None:
    """The token may be a user's or a backend's."""
    for claims in ({"sub": user}, {"subscribe": ["*"]}):
        token = auth.encode(claims | {"exp": int(time.time()) + 20}, SECRET, ttl=None)
        headers = {"Authorization": f"Bearer {token}"}
        answer = stack.post("/tickets", {"user": user, "ttl": 3600}, headers).json()
        assert 1 <= answer["expires_in"] <= 20 + 30  # the leeway moves all ends alike
        assert 1 <= stack.redis.ttl(ALONE.ticket(digest(answer["url"]))) <= 50
