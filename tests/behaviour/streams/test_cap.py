"""The case of a user with more streams than allowed: the new page works, and the user's oldest stream ends."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from pushsvc.storage.counts.presence import GIVE_WAY
from tests.conftest import Start
from tests.support.clients.eventsource import EventSource, gave_way, until
from tests.support.stack import Stack, connections, descriptors

CAP = 3


@pytest.fixture(scope="module")
def capped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("capped"), max_connections_per_user=CAP, workers=3)
    yield running
    running.stop()
    assert "Traceback" not in running.output, running.output


@pytest.mark.every_redis
@pytest.mark.parametrize("name", ["u{}", "auth0|{}", "urn:uuid:{}", "a/{}"])
@pytest.mark.every_script
def test_the_oldest_gives_way_to_the_newest(capped: Stack, user: str, name: str) -> None:
    """It does so again and again, whichever workers they are on."""
    user = name.format(user)
    cap = int(str(capped.settings["max_connections_per_user"]))
    with ExitStack() as opened:
        sources: list[EventSource] = []
        for number in range(cap + 9):
            sources.append(opened.enter_context(capped.listen(user)))
            assert not sources[-1].refusals, "the new one is served"
            if number >= cap:
                gave_way(sources[number - cap])
        event = capped.publish(user=user)
        for source in sources[-cap:]:
            source.wait_ids(event)
            assert not source.refusals
        counted = capped.keys_of(user).connections(f"user:{user}" if ":" in user else user)
        until(lambda: sum(map(int, capped.redis.hvals(counted))) == cap, "the count to be true")


def test_who_has_given_way_does_not_once_more(start: Start, user: str) -> None:
    """The beat of its worker may write the stream down again before the worker hears that it is to end."""
    stack = start(workers=1, max_connections_per_user=2)
    keys = stack.keys_of(user)
    with ExitStack() as opened:
        first, second = [opened.enter_context(stack.listen(user)) for _ in range(2)]
        until(lambda: len(stack.redis.hvals(keys.streams(user))) == 1, "the times")
        [(worker, times)] = stack.redis.hgetall(keys.streams(user)).items()
        name, began = os.fsdecode(worker), os.fsdecode(times).split()[0]
        stack.redis.rpush(keys.giving_way(name), f"{user} {began}")
        stack.redis.execute_command("SPUBLISH", keys.control(name), GIVE_WAY)
        gave_way(first)
        for _ in range(2):
            opened.enter_context(stack.listen(user))
        gave_way(second)


def test_of_a_crowd_that_comes_at_once_as_many_stay_as_may(capped: Stack, user: str) -> None:
    """Each stream that is told to end is told so once, on whichever worker, and counts no more from then on."""
    crowd: list[EventSource] = []
    threads = [
        threading.Thread(target=lambda: crowd.append(EventSource(f"{capped.url}/events", capped.bearer(user))))
        for _ in range(5 * CAP)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    until(lambda: sum(source.closed for source in crowd) >= 4 * CAP, "the others to give way")
    until(lambda: connections(capped, user) == CAP, "the count to be true")
    event = capped.publish(user=user)
    for source in crowd:
        if not source.closed:
            source.wait_ids(event)
    assert sum(event in source.ids for source in crowd) == CAP
    for source in crowd:
        source.close()


def test_streams_of_others_stay(capped: Stack, user: str) -> None:
    with ExitStack() as opened:
        other = opened.enter_context(capped.listen(f"{user}-other"))
        for _ in range(2 * CAP):
            opened.enter_context(capped.listen(user))
        other.wait_ids(capped.publish(user=f"{user}-other"))


def poll(stack: Stack, token: dict[str, str], channel: str, base: str) -> httpx.Response:
    return httpx.get(
        f"{base}/history", params={"channel": channel, "wait": 30}, headers=token, trust_env=False, timeout=40
    )


def test_a_long_poll_ends_nobody(capped: Stack, user: str) -> None:
    with ExitStack() as opened:
        sources = [opened.enter_context(capped.listen(user)) for _ in range(CAP)]
        refused = poll(capped, capped.bearer(user), f"user:{user}", capped.url)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        event = capped.publish(user=user)
        for source in sources:
            source.wait_ids(event)


@pytest.mark.every_script
def test_where_nobody_gives_way_the_newcomer_is_refused_for_now(capped: Stack, user: str) -> None:
    """Long polls have what the user may have; and tokens without a user cannot end each other's."""
    polls = [
        threading.Thread(target=poll, args=(capped, capped.bearer(user), f"user:{user}", capped.url))
        for _ in range(CAP)
    ]
    for each in polls:
        each.start()
    until(lambda: connections(capped, user) == CAP, "the long polls")
    with capped.listen(user) as source:
        source.wait(lambda source: source.refusals, "the refusal")
        assert source.refusals[0]["status"] == 429
    capped.publish(user=user)
    for each in polls:
        each.join()


def test_tokens_without_a_user_have_no_cap_together(capped: Stack, user: str) -> None:
    """They are backends' tokens: no user's cap is for them, and their streams are counted nowhere."""
    channel, answers = f"topic:{user}", list[httpx.Response]()
    token = capped.bearer(subscribe=[channel])
    polls = [
        threading.Thread(target=lambda: answers.append(poll(capped, token, channel, capped.app_url)))
        for _ in range(2 * CAP)
    ]
    until(lambda: not capped.redis.keys("*conns:*"), "streams of tests before this to be gone")
    before = descriptors(capped)
    for each in polls:
        each.start()
    until(lambda: descriptors(capped) >= before + 2 * CAP, "the long polls")
    late = capped.get("/history", token, channel=channel, wait=1)
    assert (late.status_code, late.json()["events"]) == (200, [])
    assert not capped.redis.keys("*conns:")
    capped.publish(topic=user)
    for each in polls:
        each.join()
    assert [answer.status_code for answer in answers] == [200] * 2 * CAP
    assert all(answer.json()["events"] for answer in answers)


def test_listeners_of_an_answer_end_nobody(capped: Stack, user: str) -> None:
    question = {"model": "mock", "messages": [{"role": "user", "content": "?" * 2000}]}
    begun = capped.post("/v1/generations", question, capped.bearer(user)).json()
    url = f"{capped.url}/v1/generations/{begun['id']}/events"
    with ExitStack() as opened:
        page = opened.enter_context(capped.listen(user))
        first = [opened.enter_context(EventSource(url, capped.bearer(user))).wait_open() for _ in range(CAP)]
        refused = opened.enter_context(EventSource(url, capped.bearer(user)))
        refused.wait(lambda source: source.refusals, "the refusal")
        assert refused.refusals[0]["status"] == 429
        for source in first:
            source.wait(lambda source: source.messages and source.messages[-1].data == "[DONE]", "all of the answer")
        page.wait_ids(capped.publish(user=user))


@pytest.mark.parametrize("by", ["token", "ticket"])
def test_listeners_of_all_answers_of_a_user_have_one_cap(capped: Stack, user: str, by: str) -> None:
    """Readers by an answer's URL, which its user may have given to anybody, do not count against the user's own cap."""
    question = {"model": "mock", "messages": [{"role": "user", "content": "?" * 2000}]}
    begun = [capped.post("/v1/generations", question, capped.bearer(user)).json() for _ in range(CAP + 1)]
    paths = [f"/v1/generations/{each['id']}/events" if by == "token" else each["url"] for each in begun]
    headers = capped.bearer(user) if by == "token" else {}
    with ExitStack() as opened:
        sources = [opened.enter_context(EventSource(capped.url + path, headers)).wait_open() for path in paths[:CAP]]
        refused = opened.enter_context(EventSource(capped.url + paths[CAP], headers))
        refused.wait(lambda source: source.refusals, "the refusal")
        assert refused.refusals[0]["status"] == 429
        other = {} if by == "token" else capped.bearer(user)
        path = begun[CAP]["url"] if by == "token" else f"/v1/generations/{begun[CAP]['id']}/events"
        opened.enter_context(EventSource(capped.url + path, other)).wait_open()
        opened.enter_context(capped.listen(user))
        for source in sources:
            source.wait(lambda source: source.messages and source.messages[-1].data == "[DONE]", "all of the answer")
    until(lambda: not connections(capped, f"answers:{user}"), "the end of the counts")


def test_what_gave_way_comes_back_and_has_missed_nothing(capped: Stack, user: str) -> None:
    with ExitStack() as opened:
        first = opened.enter_context(capped.listen(user))
        later = [opened.enter_context(capped.listen(user)) for _ in range(CAP)]
        gave_way(first)
        missed = capped.publish(user=user)
        [cursor] = first.cursors[-1:]
        back = opened.enter_context(capped.listen(user, headers={"Last-Event-ID": cursor}))
        back.wait_ids(missed)
        gave_way(later[0])
