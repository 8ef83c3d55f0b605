"""Publishing as a stream: events of one request, a line each, answered while it is sent."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, Final, Self, Unpack

from pushsvc.client.background import Background, Send
from pushsvc.client.errors import PublishError
from pushsvc.client.http.transport import Transport
from pushsvc.client.items import Item, Prepared, Target, item, prepare
from pushsvc.client.results import Receipt
from pushsvc.client.streams.conversation import Conversation
from pushsvc.client.streams.pending import Line, Pending

WINDOW: Final = 5000  # events that may be unanswered
ERRORS: Final = 100  # that are kept

OnStreamResult = Callable[[int, Receipt | PublishError], object]


class PublishStream:
    """A stream of events, to be used in a `with`, which waits at its end until all are answered, and raises the first
    PublishError if there was one. What a broken connection left unanswered is sent again, in order."""

    def __init__(self, on_result: OnStreamResult | None) -> None:
        self.acknowledged = 0  # events that are kept
        self.refused = 0
        self.errors: list[PublishError] = []  # the first hundred
        self._on_result = on_result
        self._pid = os.getpid()

    def publish(self, data: Any, **target: Unpack[Target]) -> None:
        """Send one event, without waiting for its answer; waits while as many as `window` are unanswered. Raises
        PublishError if the stream has failed; TypeError or ValueError for data that is no JSON."""
        self.publish_item(item(data, **target))

    def publish_item(self, given: Item) -> None:
        """Send an event as `POST /publish` takes it. Raises as `publish` does."""
        if self._pid != os.getpid():
            raise RuntimeError("a stream belongs to the process that opened it")
        self._put(prepare(given))

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was sent is answered. Returns False if `timeout` seconds were too short."""
        raise NotImplementedError

    def close(self) -> None:
        """Wait until all that was sent is answered, and end the request."""
        raise NotImplementedError

    def _put(self, prepared: Prepared) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.close()
        if self.errors and kind is None:
            first = self.errors[0]
            more = f" ({self.refused} events of the stream were refused)" if self.refused > 1 else ""
            raise PublishError(
                first.detail + more, status=first.status, errors=first.errors, temporary=first.temporary
            ).of(first.key) from first

    def _tell(self, number: int, result: Receipt | PublishError) -> None:
        if isinstance(result, PublishError):
            self.refused += 1
            if len(self.errors) < ERRORS:
                self.errors.append(result)
        else:
            self.acknowledged += 1
        if self._on_result is not None:
            self._on_result(number, result)


class HttpStream(PublishStream):
    """One request over HTTP, with a thread that sends and reads."""

    def __init__(self, transport: Transport, patience: float, on_result: OnStreamResult | None, window: int) -> None:
        super().__init__(on_result)
        self._pending = Pending(window, self._tell)
        self._conversation = Conversation(transport, self._pending, patience)
        self._thread = threading.Thread(target=self._conversation.run, name="pushsvc-stream", daemon=True)
        self._thread.start()
        self._number = 0
        self._lock = threading.Lock()

    def _put(self, prepared: Prepared) -> None:
        with self._lock:  # the numbers are in the order of the lines
            self._pending.put(Line(self._number, prepared))
            self._number += 1

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was sent is answered. Returns False if `timeout` seconds were too short."""
        return self._pending.wait_empty(timeout)

    def close(self) -> None:
        """Wait until all that was sent is answered, and end the request."""
        self._pending.close()
        self._thread.join()


class QueuedStream(PublishStream):
    """The same where there is no request: batches, one after the other, of what has come meanwhile."""

    def __init__(self, send: Send, on_result: OnStreamResult | None, window: int) -> None:
        super().__init__(on_result)
        self._answered = 0
        self._queue = Background(send, window, self._count)

    def _put(self, prepared: Prepared) -> None:
        self._queue.put(prepared, wait=True)

    def _count(self, _: Prepared, result: Receipt | PublishError) -> None:
        number, self._answered = self._answered, self._answered + 1
        self._tell(number, result)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was sent is answered. Returns False if `timeout` seconds were too short."""
        return self._queue.flush(timeout)

    def close(self) -> None:
        """Wait until all that was sent is answered."""
        self._queue.close(None)
