"""A ticket whose first answer is lost on its way: a repeat takes the stream over."""

from __future__ import annotations

import pytest

from tests.support.clients.eventsource import EventSource, until
from tests.support.clients.ticket_streams import make_stale, status, url_of, used
from tests.support.stack import Stack


@pytest.mark.every_redis
@pytest.mark.every_script
def test_a_repeat_takes_the_stream_over(stack: Stack, base: str, user: str) -> None:
    url = url_of(stack, user, base)
    missed = stack.publish(user=user)
    sources = [EventSource(url)]
    sources[0].wait_ids(missed)
    until(lambda: stack.get("/unread", stack.bearer(user)).json()["unread"] == 0, "it to count as had")
    for _ in range(4):  # on either worker
        earlier = sources[-1]
        sources.append(EventSource(url).wait_ids(missed))
        earlier.wait(lambda source: source.closed, "the end of the earlier stream")
    live = stack.publish(user=user)
    heard = sources[-1].wait_ids(live).ids  # and what other tests publish to all
    assert [each for each in heard if each in (missed, live)] == [missed, live]
    for source in sources:
        source.close()


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "same-origin"}, {}], ids=["cookie", "proof"])
def test_but_not_once_its_client_came_back(stack: Stack, user: str, headers: dict[str, str]) -> None:
    url = url_of(stack, user)
    proof, cookie = used(url, headers)
    back = {"Last-Event-ID": f"1-0~{proof}"} if proof else {"Cookie": cookie}
    with EventSource(url, headers | back) as source:
        source.wait_open()
        assert status(url) == 401
        source.wait_ids(stack.publish(user=user))


@pytest.mark.every_redis
def test_nor_later(stack: Stack, user: str) -> None:
    url = url_of(stack, user)
    used(url)
    make_stale(stack, user, url)
    assert status(url) == 401


def test_nor_with_an_id_of_its_own(stack: Stack, user: str) -> None:
    url = url_of(stack, user)
    with EventSource(url) as source:
        source.wait_open()
        assert status(url, Last_Event_ID="1-0") == 401
        source.wait_ids(stack.publish(user=user))


def test_a_cookie_of_an_earlier_ticket_does_not_lose_the_beginning(stack: Stack, user: str) -> None:
    _, cookie = used(url_of(stack, user))
    url, missed = url_of(stack, user), stack.publish(user=user)
    with EventSource(url, {"Cookie": cookie}) as lost:
        lost.wait_ids(missed)
        until(lambda: stack.get("/unread", stack.bearer(user)).json()["unread"] == 0, "it to count as had")
        with EventSource(url, {"Cookie": cookie}) as source:
            source.wait_ids(missed)
            assert source.last_id == missed, "cookies come back here"
            lost.wait(lambda source: source.closed, "the end of the earlier stream")


def test_who_lost_the_stream_does_not_come_back(stack: Stack, user: str) -> None:
    url = url_of(stack, user)
    with EventSource(url) as earlier:
        earlier.wait_open().wait_ids(stack.publish(user=user))
        with EventSource(url) as source:
            source.wait_open()
            earlier.wait(lambda source: source.closed, "the end of the earlier stream")
            assert status(url, Last_Event_ID=earlier.last_id) == 401
            source.wait_ids(stack.publish(user=user))
