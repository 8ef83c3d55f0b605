"""Two services on one server, each with a prefix of its own, hear nothing of each other, though their users have the
same names."""

from __future__ import annotations

import pytest
import redis

from pushsvc.config import DEFAULT_PREFIX
from tests.conftest import Start
from tests.support.clients.eventsource import EventSource, until
from tests.support.redis.prefixes import hear_nothing_of_each_other
from tests.support.stack import Stack, connections

CAP = 2
SETTINGS: dict[str, object] = {"workers": 1, "max_connections_per_user": CAP}


@pytest.fixture(scope="module")
def services(shared: Start) -> tuple[Stack, Stack]:
    """Two services that share the server and the secret: nothing but the prefix keeps them apart."""
    one = shared(redis_prefix="shop", **SETTINGS)
    url = f"unix://{one.data_dir}/valkey.sock"
    return one, shared(redis_url=url, redis_prefix="shop-2.eu_test", **SETTINGS)


@pytest.fixture(scope="module")
def default(services: tuple[Stack, Stack], shared: Start) -> Stack:
    """A service on the same server whose settings name no prefix."""
    return shared(redis_url=f"unix://{services[0].data_dir}/valkey.sock", **SETTINGS)


def test_events(services: tuple[Stack, Stack], default: Stack, user: str) -> None:
    one, other = services
    for number, (here, there) in enumerate(((one, other), (one, default), (default, other))):
        hear_nothing_of_each_other(here, there, f"{user}.{number}")


def test_a_key_is_one_service_s(services: tuple[Stack, Stack], user: str) -> None:
    event = {"user": user, "data": "-", "key": "k"}
    question = {"model": "mock", "messages": [{"role": "user", "content": "?"}]}
    for path, body, header in (("/publish", event, {}), ("/v1/generations", question, {"Idempotency-Key": "k"})):
        answers = [each.post(path, body, each.bearer(user, publish=["*"]) | header) for each in services * 2]
        first, second, again, again_second = [answer.json()["id"] for answer in answers]
        assert first != second
        assert [again, again_second] == [first, second]


def test_unread_positions(services: tuple[Stack, Stack], user: str) -> None:
    def unread() -> list[int]:
        return [each.get("/unread", each.bearer(user)).json()["unread"] for each in services]

    one, other = services
    ids = [each.publish(user=user) for each in (*services, one)]
    mine, others = unread()
    assert one.post("/ack", {"id": ids[-1]}, one.bearer(user)).status_code == 200
    assert mine >= 2
    assert unread() == [0, others]
    other.publish(user=user)
    assert unread() == [0, others + 1]


def test_tickets_and_their_cookies(services: tuple[Stack, Stack], user: str) -> None:
    """They are kept apart even if a browser sends both cookies to each, as it does for two ports of one host."""
    tickets = [each.post("/tickets", {"user": user}, each.bearer(subscribe=["*"])).json() for each in services]
    for stack, ticket in zip(services, reversed(tickets), strict=True):
        assert stack.get("/events", {}, ticket=ticket["ticket"]).status_code == 401
    jar: dict[str, str] = {}
    for stack, ticket in zip(services, tickets, strict=True):
        with EventSource(f"{stack.url}{ticket['url']}", {"Sec-Fetch-Site": "same-origin"}).wait_open() as source:
            cookie = source.headers["set-cookie"].partition(";")[0]
            name, _, value = cookie.partition("=")
            assert name not in jar
            jar[name] = value


def test_the_cap_on_connections(services: tuple[Stack, Stack], user: str) -> None:
    one, other = services
    here = [one.listen(user) for _ in range(CAP)]
    there = [other.listen(user) for _ in range(CAP)]
    until(lambda: [connections(each, user) for each in services] == [CAP, CAP], "the counts")
    for source in here + there:
        assert not source.refusals
    with one.listen(user):
        here[0].wait(lambda source: source.refusals, "the oldest to give way")
    assert not any(source.refusals for source in there)
    for source in here + there:
        source.close()


def test_answers(services: tuple[Stack, Stack], user: str) -> None:
    one, other = services
    question = {"model": "mock", "messages": [{"role": "user", "content": "?"}]}
    begun = one.post("/v1/generations", question, one.bearer(user)).json()
    with EventSource(f"{one.url}{begun['url']}", one.bearer(user)).wait_open() as source:
        source.wait(lambda source: source.messages and source.messages[-1].data == "[DONE]", "the answer")
    assert other.get(f"/v1/generations/{begun['id']}", other.bearer(user)).status_code == 404
    assert other.get("/v1/generations", other.bearer(user)).json()["data"] == []
    assert [each["id"] for each in one.get("/v1/generations", one.bearer(user)).json()["data"]] == [begun["id"]]


def test_every_name_begins_with_the_prefix(services: tuple[Stack, Stack], default: Stack, user: str) -> None:
    prefixes = {str(each.settings.get("redis_prefix", DEFAULT_PREFIX)) for each in (*services, default)}
    server: redis.Redis = services[0].redis
    with default.listen(user):
        names = [*server.scan_iter(count=1000), *server.pubsub_shardchannels()]
    assert {name.decode().partition("{")[0] for name in names} == prefixes
