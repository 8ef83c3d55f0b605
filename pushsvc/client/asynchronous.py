"""The same for asyncio. The work is done by threads of its own, so nothing here blocks the event loop, and there is one
implementation of retries, keys and cursors."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Self, TypeVar, Unpack

from pushsvc.client.errors import PublishError
from pushsvc.client.items import Item, Target, item
from pushsvc.client.listener import Listener
from pushsvc.client.publisher import Publisher
from pushsvc.client.results import Event, Receipt, Ticket
from pushsvc.client.streams.stream import WINDOW, OnStreamResult, PublishStream

T = TypeVar("T")

THREADS: Final = 16  # requests that one publisher has under way at a time


class AsyncPublisher:
    """A `Publisher` for asyncio. A call that is cancelled may still be carried out."""

    def __init__(self, url: str | None = None, token: Any = None, **options: Any) -> None:
        """See `Publisher`. Callbacks are called in threads. Raises ValueError."""
        self._publisher = Publisher(url, token, **options)
        self._start()

    def _start(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "pushsvc-publisher")
        self._pid = os.getpid()

    async def _run(self, call: Callable[[], T]) -> T:
        if self._pid != os.getpid():
            self._start()
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def publish(self, data: Any, **target: Unpack[Target]) -> Receipt:
        """See `Publisher.publish`."""
        given = item(data, **target)
        return await self._run(lambda: self._publisher.publish_item(given))

    async def publish_many(self, items: Iterable[Item]) -> list[Receipt | PublishError]:
        """See `Publisher.publish_many`."""
        return await self._run(lambda: self._publisher.publish_many(items))

    async def ticket(self, user: str, *, topics: Iterable[str] = (), ttl: int | None = None) -> Ticket:
        """See `Publisher.ticket`."""
        return await self._run(lambda: self._publisher.ticket(user, topics=topics, ttl=ttl))

    def enqueue(self, data: Any, **target: Unpack[Target]) -> None:
        """See `Publisher.enqueue`, which does not wait."""
        self._publisher.enqueue(data, **target)

    async def flush(self, timeout: float | None = None) -> bool:
        """See `Publisher.flush`."""
        return await self._run(lambda: self._publisher.flush(timeout))

    def stream(self, *, on_result: OnStreamResult | None = None, window: int = WINDOW) -> AsyncStream:
        """See `Publisher.stream`; to be used in an `async with`."""
        return AsyncStream(lambda: self._publisher.stream(on_result=on_result, window=window))

    async def close(self) -> bool:
        """See `Publisher.close`."""
        try:
            return await self._run(self._publisher.close)
        finally:
            self._threads.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncStream:
    """A `PublishStream` for asyncio."""

    def __init__(self, start: Callable[[], PublishStream]) -> None:
        self._start = start
        self._threads = ThreadPoolExecutor(1, "pushsvc-stream-put")  # one: the order of the events
        self._stream: PublishStream | None = None

    async def __aenter__(self) -> Self:
        self._stream = self._start()
        return self

    async def publish(self, data: Any, **target: Unpack[Target]) -> None:
        """See `PublishStream.publish`."""
        given = item(data, **target)
        await self._run(lambda stream: stream.publish_item(given))

    async def flush(self, timeout: float | None = None) -> bool:
        """See `PublishStream.flush`."""
        return await self._run(lambda stream: stream.flush(timeout))

    async def __aexit__(self, kind: object, *rest: object) -> None:
        try:
            await self._run(lambda stream: stream.__exit__(kind, *rest))
        finally:
            self._threads.shutdown(wait=False)

    async def _run(self, call: Callable[[PublishStream], T]) -> T:
        stream = self._stream
        if stream is None:
            raise RuntimeError("a stream is used in an `async with`")
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: call(stream))


class AsyncListener:
    """A `Listener` for asyncio, for one task. What a cancelled step would have given, the next one gives."""

    def __init__(self, url: str, token: Any, **options: Any) -> None:
        """See `Listener`. Callbacks are called in a thread. Raises ValueError."""
        self._listener = Listener(url, token, **options)
        self._threads = ThreadPoolExecutor(2, "pushsvc-listener")  # one reads, one acknowledges
        self._next: asyncio.Future[Event | None] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """See `Listener.__next__`; StopAsyncIteration once it is closed."""
        if self._next is None:
            self._next = asyncio.get_running_loop().run_in_executor(self._threads, next, self._listener, None)
        step = self._next
        try:
            event = await asyncio.shield(step)
        finally:
            if step.done():
                self._next = None
        if event is None:
            raise StopAsyncIteration
        return event

    async def ack(self, event: Event) -> None:
        """See `Listener.ack`."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._listener.ack, event)

    async def close(self) -> None:
        """End the iteration."""
        self._listener.close()
        if self._next is not None:
            await asyncio.wait([self._next])
        self._threads.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
