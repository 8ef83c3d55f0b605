"""Listens to a user's events: each once, over reconnects and, with a cursor that lasts, over restarts."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Self
from urllib.parse import urlencode

from pushsvc.client.backoff import Backoff
from pushsvc.client.cursors import Cursor, MemoryCursor
from pushsvc.client.errors import GapError, ListenError, ServiceError
from pushsvc.client.http.transport import Failure, Response, Token, Transport
from pushsvc.client.results import Event, Gap
from pushsvc.client.sending import HttpService, Retrying
from pushsvc.client.sse import Message, Parser

SILENCE_SECONDS: Final = 60.0  # four heartbeats of the service's default
CONNECT_SECONDS: Final = 10.0
ACK_SECONDS: Final = 15.0  # for which an acknowledgement is tried
_READ_BYTES: Final = 65536
_LATELY: Final = 1000  # ids by which a repeat is known

OnGap = Callable[[Gap], object]
OnState = Callable[[str, ServiceError | None], object]


class Listener:
    """An iterator over the events of the token's user, for one thread. It comes back by itself for as long as the
    service may answer again, and raises ListenError if it will not.

    The cursor is saved when the next event is asked for, so an event whose handling ends the process comes again.
    With `ack="manual"` it is saved by `ack`, which also moves the user's unread position.
    """

    def __init__(  # noqa: PLR0913
        self,
        url: str,
        token: Token,
        *,
        topics: Iterable[str] = (),
        since: str = "unread",
        cursor: Cursor | None = None,
        ack: str = "auto",
        on_gap: OnGap | None = None,
        on_state: OnState | None = None,
        silence: float = SILENCE_SECONDS,
        patience: float | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`since`: unread, now or earliest, where the cursor is empty. `ack`: auto; manual; or none, which moves no
        unread position. `on_gap`: is told of lost events; else GapError is raised, once. `on_state`: is called with
        open, or with waiting and the reason. `silence`: seconds without any byte after which a connection is given up;
        more than the service's HEARTBEAT_SECONDS. `patience`: seconds without a connection after which the reason is
        raised; None: never. Raises ValueError."""
        if since not in ("unread", "now", "earliest") or ack not in ("auto", "manual", "none"):
            raise ValueError("since is unread, now or earliest; ack is auto, manual or none")
        self._transport = Transport(url, token, timeout=CONNECT_SECONDS, tls=tls)
        self._query = {"since": since} | ({"topics": ",".join(topics)} if topics else {})
        if ack != "auto":
            self._query["ack"] = "manual"
        self._cursor = cursor or MemoryCursor()
        self._manual = ack == "manual"
        self._on_gap = on_gap
        self._on_state = on_state
        self._silence = silence
        self._patience = patience
        self._came_to: str | None = None  # the cursor in this process
        self._loaded = False
        self._unsaved: str | None = None
        self._ready: deque[Message] = deque()
        self._lately: deque[str] = deque(maxlen=_LATELY)
        self._backoff = Backoff(0.2, 30.0)
        self._retry: float | None = None  # seconds, as the service said
        self._lost_since: float | None = time.monotonic()
        self._renewed = False
        self._connection: http.client.HTTPConnection | None = None
        self._answer: http.client.HTTPResponse | None = None
        self._parser = Parser()
        self._closing = threading.Event()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        """The next event. Raises ListenError, GapError, or what the cursor does; StopIteration once it is closed."""
        self._save()
        while not self._closing.is_set():
            while self._ready:
                event = self._take(self._ready.popleft())
                if event is not None:
                    return event
            self._read()
        self._disconnect()
        raise StopIteration

    def ack(self, event: Event) -> None:
        """Acknowledge the event, and all before it. Raises ServiceError."""
        http_service = HttpService(self._transport)
        body = json.dumps({"id": event.id}).encode()
        Retrying(http_service, ACK_SECONDS).run(lambda: http_service.post("/ack", body))
        self._cursor.save(event.id)

    def close(self) -> None:
        """End the iteration, also from another thread, and from within."""
        self._closing.set()
        connection = self._connection
        sock = connection.sock if connection is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._save()
        self.close()
        self._disconnect()
        self._transport.close()

    def _save(self) -> None:
        if self._unsaved is not None and not self._manual:
            self._cursor.save(self._unsaved)
        self._unsaved = None

    def _take(self, message: Message) -> Event | None:
        """Handle what came. None: it is no event of anybody's."""
        if message.name == "refused" and not message.own:
            self._refused(json.loads(message.data))
            return None
        event_id = message.id.partition("~")[0]  # what follows belongs to the connection
        if message.name == "cursor":
            self._came_to = message.id
            return None
        if message.name == "gap":
            self._came_to = message.id or self._came_to
            self._unsaved = event_id
            self._missed(json.loads(message.data))
            return None
        if message.name == "heartbeat" and not message.own:
            return None
        self._came_to = message.id
        if event_id in self._lately:
            return None
        self._lately.append(event_id)
        self._unsaved = event_id
        return Event(event_id, message.name, message.data)

    def _missed(self, told: dict[str, Any]) -> None:
        gap = Gap(told.get("requested"), told.get("oldest"), str(told.get("reason")))
        if self._on_gap is None:
            raise GapError(gap)
        self._on_gap(gap)

    def _refused(self, problem: dict[str, Any]) -> None:
        """The service ends the stream with a reason."""
        detail, status = str(problem.get("detail")), problem.get("status")
        retry_ms = self._parser.retry_ms
        error = ServiceError(detail, status=status, retry_after=None if retry_ms is None else retry_ms / 1000)
        self._disconnect()
        self._lost(error)

    def _read(self) -> None:
        """Wait for what comes, on a connection that stands or is made."""
        try:
            answer = self._answer or self._connect()
            piece = answer.read1(_READ_BYTES)
        except ServiceError as error:
            self._disconnect()
            self._lost(error)
            return
        except Failure as error:
            piece, failure = b"", self._transport.unreachable(error)
        else:
            failure = ServiceError("the stream ended")
        if piece:
            messages = self._parser.feed(piece)
            if any(each.own for each in messages):
                self._stands()
            self._ready += messages
            return
        retry_ms = self._parser.retry_ms
        self._disconnect()
        if not self._closing.is_set():
            failure.retry_after = None if retry_ms is None else retry_ms / 1000
            self._lost(failure)

    def _stands(self) -> None:
        self._renewed = False
        if self._lost_since is not None:
            self._lost_since = None
            self._backoff.reset()
            self._say("open", None)

    def _connect(self) -> http.client.HTTPResponse:
        """Open a stream behind the cursor. Raises ServiceError, or one of `Failure`."""
        if not self._loaded:
            self._came_to = self._cursor.load()
            self._loaded = True
        transport = self._transport
        self._connection = connection = transport.connect()
        self._parser = Parser(self._came_to or "")
        headers = transport.headers() | {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self._came_to is not None:
            headers["Last-Event-ID"] = self._came_to
        path = f"{transport.address.path}/events?{urlencode(self._query)}"
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        if answer.status != 200 or answer.msg.get_content_type() != "text/event-stream":
            raise transport.refusal(Response(answer.status, answer.msg, answer.read(_READ_BYTES)))
        connection_socket = connection.sock or answer.fp.raw._sock  # type: ignore[attr-defined]  # noqa: SLF001
        connection_socket.settimeout(self._silence)
        self._answer = answer
        return answer

    def _lost(self, error: ServiceError) -> None:
        """Wait before the next try. Raises ListenError if there will be none."""
        if error.status == 401 and not self._renewed and self._transport.renew_token():
            self._renewed = True
            return
        now = time.monotonic()
        self._lost_since = self._lost_since or now
        pause = self._backoff.pause(error.retry_after)
        late = self._patience is not None and now + pause - self._lost_since > self._patience
        if late or not error.temporary:
            raise ListenError(
                error.detail, status=error.status, errors=error.errors, temporary=error.temporary
            ) from error
        self._say("waiting", error)
        self._closing.wait(pause)

    def _say(self, state: str, error: ServiceError | None) -> None:
        if self._on_state is not None:
            self._on_state(state, error)

    def _disconnect(self) -> None:
        connection, self._connection, self._answer = self._connection, None, None
        if connection is not None:
            connection.close()
