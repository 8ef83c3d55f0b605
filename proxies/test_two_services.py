"""Two services behind each proxy that balances, without sticky sessions: one is stopped, then the other one is killed.
No page dies, and each hears all events once and in order."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count

import httpx
import pytest

from proxies.conftest import Pair
from proxies.support.kinds import KINDS, Kind
from proxies.support.running import Proxy
from tests.support.clients.eventsource import EventSource, until
from tests.support.processes import alive, descendants
from tests.support.stack import Stack

TABS = 8
_BALANCING = [kind for kind in KINDS if kind.balances]


class Publisher(threading.Thread):
    """Publishes numbers to all, through the proxy; repeats under the same key what was not answered by 200."""

    def __init__(self, url: str, stack: Stack, verify: bool = True) -> None:
        super().__init__(daemon=True)
        headers = stack.bearer(publish=["*"])
        self._client = httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=20, verify=verify)
        self._over, self._pause = threading.Event(), threading.Event()
        self.published = 0

    def run(self) -> None:
        for number in count():
            while not self._publish(number):
                self._pause.wait(0.1)
            self.published = number + 1
            self._pause.wait(0.05)
            if self._over.is_set():
                return

    def _publish(self, number: int) -> bool:
        try:
            answer = self._client.post("/publish", json={"all": True, "data": number, "key": str(number)})
        except httpx.HTTPError:
            return False
        return answer.status_code == 200

    def stop(self) -> None:
        self._over.set()
        self.join(60)
        assert not self.is_alive(), "a publish was refused to the end"
        self._client.close()


@contextmanager
def publishing(url: str, stack: Stack, verify: bool = True) -> Iterator[Publisher]:
    publisher = Publisher(url, stack, verify)
    publisher.start()
    try:
        yield publisher
    finally:
        publisher.stop()


@pytest.mark.parametrize("kind", _BALANCING, ids=[kind.name for kind in _BALANCING])
def test_one_is_stopped_and_one_is_killed(kind: Kind, own_pair: Pair, user: str) -> None:
    with Proxy(kind, kind.file, own_pair.ports) as proxy, ExitStack() as opened:
        until(lambda: httpx.get(f"{proxy.url}/readyz", trust_env=False).status_code == 200, "the proxy to find one")
        tabs = [opened.enter_context(tab(proxy, own_pair, f"{user}-{n}")) for n in range(TABS)]
        with publishing(proxy.url, own_pair.one) as publisher:
            hear_more(tabs, publisher)
            own_pair.one.stop(signal.SIGTERM)
            hear_more(tabs, publisher)
            up_again(own_pair.one)
            hear_more(tabs, publisher)
            kill(own_pair.two)
            hear_more(tabs, publisher)
            up_again(own_pair.two)
            hear_more(tabs, publisher)
        wanted = [str(number) for number in range(publisher.published)]
        for each in tabs:
            each.wait(lambda source: source.closed or (source.data and source.data[-1] == wanted[-1]), "the last event")
            assert each.data == wanted[int(each.data[0]) :], "an event is missing, double, or not in order"


def tab(proxy: Proxy, pair: Pair, user: str) -> EventSource:
    """A page that asks for a ticket and opens a stream with it: each may meet another of the two services."""
    ticket = pair.one.post("/tickets", {"user": user}, pair.one.bearer(user), base=proxy.url)
    assert ticket.status_code == 200, ticket.text
    source = EventSource(f"{proxy.url}/events?ticket={ticket.json()['ticket']}", reconnect=True)
    return source.wait_open()


def hear_more(tabs: list[EventSource], publisher: Publisher) -> None:
    """Wait until each tab has heard something that is published after this moment. None may have died."""
    wanted = publisher.published + 5
    for each in tabs:
        each.wait(lambda source: source.closed or (source.data and int(source.data[-1]) >= wanted), "more events")
        assert not each.closed, f"a page died: {each.statuses}"


def kill(stack: Stack) -> None:
    """Kill all processes of the stack, as when its machine dies."""
    pids = [stack.process.pid, *descendants(stack.process.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    stack.process.wait()
    until(lambda: not any(map(alive, pids)), "its end")


def up_again(stack: Stack) -> None:
    stack.output = ""
    stack.start()
