"""A browser's EventSource: it comes back after an end or a broken connection, and gives up for good at an error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from chaos.traffic.wire import Answer, Message, Stream, reason

RETRY_SECONDS: Final = 3.0  # Chromium's, until the server says another
SPOKEN: Final = ("cursor", "refused", "heartbeat")  # events in which the service speaks of the stream itself
REFUSED_SECONDS: Final = 1.0  # after which a page makes a new EventSource


class PubSubListener(Protocol):
    """Whatever an EventSource is to tell of what it hears."""

    def heard(self, message: Message) -> None: ...

    def opened(self) -> None:
        """A connection stands, the first or a later one."""

    def refused(self, status: int, why: str) -> None:
        """A browser would have given up for good."""


class _Refused(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(status)
        self.status = status
        self.why = why


class EventSource:
    """Runs until it is cancelled. Where a browser's would give up, it tells so and begins anew with the last id, as a
    patient page does."""

    def __init__(self, address: tuple[str, int], path: str, headers: dict[str, str], ear: PubSubListener) -> None:
        self.last_event_id = ""
        self._address = address
        self._path = path
        self._headers = {"Host": f"{address[0]}:{address[1]}", "Accept": "text/event-stream", "Connection": "close"}
        self._headers |= headers
        self._ear = ear
        self._retry_seconds = RETRY_SECONDS
        self._hang_up: Callable[[], None] | None = None

    async def run(self) -> None:
        while True:
            try:
                await self._listen()
            except _Refused as refusal:
                self._ear.refused(refusal.status, refusal.why)
                self._retry_seconds = RETRY_SECONDS
                await asyncio.sleep(REFUSED_SECONDS)
                continue
            except OSError:
                pass  # as after an end
            await asyncio.sleep(self._retry_seconds)

    def drop(self) -> None:
        """Break the connection, as when the network is gone."""
        if self._hang_up is not None:
            self._hang_up()

    async def _listen(self) -> None:
        """Read one connection to its end. Raises _Refused, or OSError if there is none or it breaks."""
        reader, writer = await asyncio.open_connection(*self._address)
        self._hang_up = writer.transport.abort
        try:
            writer.write(self._request())
            await self._take(reader)
        finally:
            self._hang_up = None
            writer.transport.abort()

    async def _take(self, reader: asyncio.StreamReader) -> None:
        answer, stream, problem, opened = Answer(), Stream(self.last_event_id), b"", False
        while data := await reader.read(65536):
            body = answer.feed(data)
            if answer.status != 200:
                problem += body
                continue
            for message in stream.messages(body):
                if not opened and message.event != "refused":
                    opened = True
                    self._ear.opened()
                if message.event not in SPOKEN:
                    self._ear.heard(message)
            self.last_event_id = stream.last_event_id
            if stream.retry_ms is not None:
                self._retry_seconds = stream.retry_ms / 1000
        if answer.status not in (None, 200):
            raise _Refused(answer.status, reason(problem))

    def _request(self) -> bytes:
        headers = self._headers | ({"Last-Event-ID": self.last_event_id} if self.last_event_id else {})
        lines = [f"GET {self._path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode()
