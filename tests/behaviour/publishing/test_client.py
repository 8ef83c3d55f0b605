"""The Python client on the real service, whose workers die."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from pushsvc.client import (
    AsyncListener,
    AsyncPublisher,
    Event,
    Listener,
    Publisher,
    PublishError,
    Receipt,
    RedisCursor,
)
from tests.conftest import Start
from tests.support.clients.eventsource import DEADLINE, until
from tests.support.stack import Stack

EVENTS = 3000


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack on which nobody else publishes to all, because these listeners begin with the earliest event."""
    running = Stack(tmp_path_factory.mktemp("stack"), heartbeat_seconds=1)
    yield running
    running.stop()


def token(stack: Stack, user: str) -> str:
    return stack.token(user, publish=["*"], subscribe=["*"])


class Heard:
    """A listener in a thread."""

    def __init__(self, listener: Listener) -> None:
        self.events: list[Event] = []
        self.listener = listener
        self._thread = threading.Thread(target=lambda: self.events.extend(listener))
        self._thread.start()

    def __enter__(self) -> Heard:
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()


def test_it_publishes_and_hears(stack: Stack, user: str) -> None:
    with (
        Publisher(stack.url, token(stack, user)) as push,
        Heard(Listener(stack.url, token(stack, user), topics=[f"{user}.news"], since="earliest")) as heard,
    ):
        first = push.publish({"message": "Hello"}, user=user, event="greeting", key="k", ttl=600)
        again = push.publish("no", user=user, key="k")
        several = push.publish("2", users=[user, f"{user}.other"])
        many = push.publish_many([{"topic": f"{user}.news", "data": "3"}, {"user": "a b", "data": ""}])
        assert isinstance(many[0], Receipt)
        ticket = push.ticket(user, topics=[f"{user}.news"])
        push.enqueue("4", user=user)
        assert push.flush(DEADLINE)
        until(lambda: len(heard.events) >= 4, "the events")
        assert (first.duplicate, again) == (False, Receipt(first.id, True))
        assert list(several.users) == [user, f"{user}.other"]
        assert [type(each) for each in many] == [Receipt, PublishError]
        assert heard.events[0] == Event(first.id, "greeting", '{"message":"Hello"}')
        assert heard.events[0].json() == {"message": "Hello"}
        assert [each.data for each in heard.events[1:]] == ["2", "3", "4"]
        with pytest.raises(PublishError, match="Exactly one of"):
            push.publish("x")
    assert (ticket.url, ticket.expires_in, ticket.cursor) == (f"/events?ticket={ticket.ticket}", 60, many[0].id)


def test_a_stream_and_a_listener_outlast_a_killed_worker(start: Start, user: str) -> None:
    stack = start(workers=2)
    with Heard(Listener(stack.url, token(stack, user), since="earliest", silence=5)) as heard:
        half = threading.Event()

        def answered(number: int, _: object) -> None:
            if number > EVENTS // 3:
                half.set()

        with Publisher(stack.url, token(stack, user), patience=DEADLINE) as push:
            with push.stream(on_result=answered, window=500) as stream:
                for number in range(EVENTS):
                    if number == 2 * EVENTS // 3:
                        assert half.wait(DEADLINE)
                        stack.kill("gunicorn", slice(1, 3))
                    stream.publish(number, user=user)
            assert (stream.acknowledged, stream.refused) == (EVENTS, 0)
            push.publish("end", user=user)
        until(lambda: heard.events and heard.events[-1].data == "end", "the end")
        assert [each.data for each in heard.events] == [*map(str, range(EVENTS)), "end"], "each once, in order"


def test_asyncio(stack: Stack, user: str) -> None:
    async def both() -> list[Event]:
        async with (
            AsyncPublisher(stack.url, token(stack, user)) as push,
            AsyncListener(stack.url, token(stack, user), since="earliest", ack="manual") as listener,
        ):
            await asyncio.gather(*(push.publish(number, user=user) for number in range(5)))
            async with push.stream() as stream:
                for number in range(5, 10):
                    await stream.publish(number, user=user)
            events = [await anext(listener) for _ in range(10)]
            await listener.ack(events[4])
            return events

    events = asyncio.run(both())
    assert sorted(each.data for each in events) == [str(number) for number in range(10)]
    assert stack.get("/unread", stack.bearer(user)).json()["unread"] == 5


def test_a_cursor_in_redis_outlasts_the_process(stack: Stack, user: str) -> None:
    cursor = RedisCursor(stack.redis, f"cursor:{user}")
    with Publisher(stack.url, token(stack, user)) as push:
        ids = [push.publish(number, user=user).id for number in range(3)]
    for expected in ids:
        with Listener(stack.url, token(stack, user), since="earliest", cursor=cursor) as listener:
            assert next(listener).id == expected
            listener._save()


def test_straight_in_redis_it_is_the_same_event(stack: Stack, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUSHSVC_DATA_DIR", str(stack.data_dir))
    straight = Publisher(redis_url=f"unix://{stack.data_dir}/valkey.sock")
    with Publisher(stack.url, token(stack, user)) as push, stack.listen(user) as source:
        first = straight.publish({"n": 1}, user=user, event="e", key="k")
        assert push.publish("no", user=user, key="k") == Receipt(first.id, True)
        with straight.stream() as stream:
            for number in range(200):
                stream.publish(number, user=user)
        source.wait_for(201)
    assert stream.acknowledged == 200
    assert (source.messages[0].event, source.messages[0].data) == ("e", '{"n":1}')
    assert source.data[1:] == [str(number) for number in range(200)]
    with pytest.raises(PublishError, match="Exactly one of"):
        straight.publish("x")
