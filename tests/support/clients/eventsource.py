"""A browser's EventSource, as far as the tests need one: the parser of the HTML standard, and its reconnects."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import httpx

from pushsvc.client import sse
from tests.support.clients import canaries

DEADLINE = 40.0  # seconds that a test waits for what must come: a busy machine is no failure


@dataclass(frozen=True)
class Message:
    id: str
    event: str
    data: str


class Parser:
    """The client's parser, on text."""

    def __init__(self, last_event_id: str = "") -> None:
        self.comments: list[str] = []
        self._parser = sse.Parser(last_event_id, on_comment=lambda comment: self.comments.append(comment))

    def feed(self, text: str) -> Iterator[Message]:
        for each in self._parser.feed(text.encode()):
            yield Message(each.id, each.name, each.data)

    @property
    def last_event_id(self) -> str:
        return self._parser.last_event_id

    @last_event_id.setter
    def last_event_id(self, last: str) -> None:
        self._parser.last_event_id = last

    @property
    def retry_ms(self) -> int | None:
        return self._parser.retry_ms

    @retry_ms.setter
    def retry_ms(self, retry_ms: int | None) -> None:
        self._parser.retry_ms = retry_ms


class EventSource:
    """Listens in a thread; reconnects as a browser does if `reconnect`, with its cookies and Last-Event-ID.

    A status other than 200 ends it for good, as in a browser.
    """

    def __init__(
        self, url: str, headers: dict[str, str] | None = None, *, reconnect: bool = False, cookies: bool = True
    ) -> None:
        """`cookies`: they are kept and sent back; else as in node, or on another site's page."""
        self.url = url
        self.messages: list[Message] = []
        self.spoken: list[Message] = []  # what the service says of itself: cursors, refusals, heartbeats
        self.statuses: list[int] = []
        self.headers = httpx.Headers()
        self.body = b""
        self.opened = 0
        self.closed = False
        self.parser = Parser()
        self._given = headers or {}
        self._reconnect = reconnect
        self._cookies = cookies
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._response: httpx.Response | None = None
        self._client = httpx.Client(timeout=httpx.Timeout(10.0, read=None), trust_env=False)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stop.set()
        self.cut()
        self._thread.join(DEADLINE)
        self._client.close()

    def cut(self) -> None:
        """Break the connection, as a network does."""
        response = self._response
        if response is not None:
            stream = response.extensions["network_stream"]
            sock = stream.get_extra_info("socket")
            try:
                sock.shutdown(2)
            except OSError:
                pass  # closed already

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen()
            except httpx.HTTPError:
                pass
            self._response = None
            if not self._reconnect or (self.statuses and self.statuses[-1] != 200):
                break
            self._stop.wait(min((self.parser.retry_ms or 1000) / 1000, 1.0))
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def _listen(self) -> None:
        headers = {"Accept": "text/event-stream", **self._given}
        last = self.parser.last_event_id
        if last:
            headers["Last-Event-ID"] = last
        parser, comments = Parser(last), self.parser.comments
        parser.retry_ms, parser.comments = self.parser.retry_ms, comments
        self.parser = parser
        with self._client.stream("GET", self.url, headers=headers) as response:
            self._response = response
            canaries.note_cookies(response.headers.get_list("set-cookie"))
            if not self._cookies:
                self._client.cookies.clear()
            with self._changed:
                self.statuses.append(response.status_code)
                self.headers = response.headers
                self._changed.notify_all()
            if response.status_code != 200:
                self.body = response.read()
                return
            opened = False
            for text in response.iter_text():
                opened = self._take(parser.feed(text), opened)

    def _take(self, messages: Iterable[Message], opened: bool) -> bool:
        """Whether the service has said by now, by its first event, that the stream stands."""
        with self._changed:
            for message in messages:
                canaries.note_id(message.id)
                (self.spoken if message.event in ("cursor", "refused", "heartbeat") else self.messages).append(message)
                if not opened and message.event != "refused":
                    opened = True
                    self.opened += 1
            self._changed.notify_all()
        return opened

    def wait(self, condition: Callable[[Self], object], what: str = "the condition") -> Self:
        """Wait until `condition(self)` holds. Fails after the deadline, saying what came."""
        with self._changed:
            held = self._changed.wait_for(lambda: condition(self), DEADLINE)
        assert held, (
            f"waited in vain for {what}; statuses {self.statuses}, {'ended' if self.closed else 'open'}, "
            f"{len(self.messages)} messages, the last: {self.messages[-10:]}"
        )
        return self

    def wait_open(self) -> Self:
        return self.wait(lambda source: source.opened or source.closed, "the stream to open")

    def wait_for(self, count: int) -> list[Message]:
        self.wait(lambda source: len(source.messages) >= count, f"{count} messages")
        return self.messages

    def wait_ids(self, *ids: str) -> Self:
        """Wait until each of these events has come."""
        return self.wait(lambda source: set(ids) <= set(source.ids), f"the events {ids}")

    @property
    def cursors(self) -> list[str]:
        return [message.id for message in self.spoken if message.event == "cursor"]

    @property
    def refusals(self) -> list[dict[str, object]]:
        """The problem documents of refusals."""
        return [json.loads(message.data) for message in self.spoken if message.event == "refused"]

    @property
    def data(self) -> list[str]:
        return [message.data for message in self.messages]

    @property
    def last_id(self) -> str:
        """The id that a reconnect brings, as it is."""
        return self.parser.last_event_id

    @property
    def ids(self) -> list[str]:
        """The ids without the proofs that those of a ticket's stream carry where no cookie comes back."""
        return [message.id.partition("~")[0] for message in self.messages]


def until(condition: Callable[[], object], what: str, deadline: float = DEADLINE) -> None:
    """Poll a state that nobody announces; fails after the deadline."""
    end = time.monotonic() + deadline
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        pause.wait(0.02)


def gave_way(source: EventSource) -> None:
    """Check that the source was told to give way, and when to come back."""
    source.wait(lambda source: source.closed, "the oldest to end")
    assert [problem["status"] for problem in source.refusals] == [429]
    assert source.parser.retry_ms == 60_000
    assert source.statuses == [200]
