"""Publishes events, from threads, greenlets and forked processes."""

from __future__ import annotations

import importlib
import json
import logging
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Self, Unpack

from pushsvc.client.background import EXIT_SECONDS, Background
from pushsvc.client.errors import ClientError, PublishError
from pushsvc.client.http.transport import Token, Transport
from pushsvc.client.items import Item, Prepared, Target, item, prepare
from pushsvc.client.results import Receipt, Ticket
from pushsvc.client.sending import HttpService, Retrying, Service
from pushsvc.client.streams.stream import WINDOW, HttpStream, OnStreamResult, PublishStream, QueuedStream

logger = logging.getLogger("pushsvc.client")

TIMEOUT_SECONDS: Final = 10.0
PATIENCE_SECONDS: Final = 15.0  # about as long as a worker, or Redis, takes to come back
QUEUED: Final = 10_000

OnError = Callable[[Mapping[str, Any], PublishError], object]


class Publisher:
    """Publishes to one service. Every event has a key, drawn here if none is given, so what fails for now is sent again
    until `patience` seconds are over, and is there once.

    May be used by several threads or greenlets at a time, and after a fork.
    """

    def __init__(
        self,
        url: str | None = None,
        token: Token | None = None,
        *,
        redis_url: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
        patience: float = PATIENCE_SECONDS,
        tls: ssl.SSLContext | None = None,
        on_error: OnError | None = None,
        queue_size: int = QUEUED,
    ) -> None:
        """`token`: or a function that gives a fresh one, which is called when the service refuses the last. `timeout`:
        seconds that each step of a request may take. `redis_url`: publish straight to the service's Redis (needs
        `pushsvc[server]`; the other settings are those of the environment). `on_error`, `queue_size`: of `enqueue`.
        Raises ValueError."""
        if url is None and redis_url is None:
            raise ValueError("a publisher needs the service's URL, or redis_url")
        self._http: HttpService | None = None
        if url is not None:
            if token is None:
                raise ValueError("a publisher needs a token")
            self._http = HttpService(Transport(url, token, timeout=timeout, tls=tls))
        service: Service | None = self._http if redis_url is None else _direct(redis_url)
        assert service is not None
        self._service = service
        self._straight = redis_url is not None
        self._retrying = Retrying(service, patience)
        self._on_error = on_error
        self._background = Background(self._retrying.many, queue_size, self._tell)

    def publish(self, data: Any, **target: Unpack[Target]) -> Receipt:
        """Publish one event to exactly one of `user`, `users`, `topic` and `all`. It is kept when this returns. Raises
        PublishError; TypeError or ValueError for data that is no JSON."""
        return self._retrying.one(prepare(item(data, **target)))

    def publish_item(self, given: Item) -> Receipt:
        """Publish an event as `POST /publish` takes it. Raises as `publish` does."""
        return self._retrying.one(prepare(given))

    def publish_many(self, items: Iterable[Item]) -> list[Receipt | PublishError]:
        """Publish events as `POST /publish` takes them, in few requests. Gives what became of each, in order; a bad one
        harms no other."""
        found: list[Receipt | PublishError | None] = []
        good: list[Prepared] = []
        for given in items:
            try:
                good.append(prepare(given))
                found.append(None)
            except (TypeError, ValueError) as error:
                found.append(PublishError(f"no JSON: {error}", temporary=False))
        results = iter(self._retrying.many(good))
        return [next(results) if each is None else each for each in found]

    def enqueue(self, data: Any, **target: Unpack[Target]) -> None:
        """Publish in the background, in order. What fails is told to `on_error`, else to the log. The end of the
        process waits for what is queued, for ten seconds at most. Raises QueueFull; TypeError or ValueError."""
        self._background.put(prepare(item(data, **target)))

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until what is queued was published, or refused. Returns False if `timeout` seconds were too short."""
        return self._background.flush(timeout)

    def stream(self, *, on_result: OnStreamResult | None = None, window: int = WINDOW) -> PublishStream:
        """Open a stream of events, to be used in a `with`: one request for all, an event a line. `on_result` is called
        with each event's number, from 0, and its Receipt or PublishError, in a thread of the stream's. `window`: events
        that may be unanswered."""
        if self._straight:
            return QueuedStream(self._retrying.many, on_result, window)
        assert self._http is not None
        return HttpStream(self._http.transport, self._retrying.patience, on_result, window)

    def ticket(self, user: str, *, topics: Iterable[str] = (), ttl: int | None = None) -> Ticket:
        """Make a ticket, with which one browser may listen as `user`. `ttl`: seconds to use it in. Raises
        ServiceError."""
        http = self._http
        if http is None:
            raise ClientError("tickets are the service's: give the publisher its URL")
        body = {"user": user, "topics": list(topics)} | ({} if ttl is None else {"ttl": ttl})
        encoded = json.dumps(body).encode()
        found = Retrying(http, self._retrying.patience).run(lambda: http.post("/tickets", encoded))
        return Ticket(found["ticket"], found["url"], found["expires_in"], found["cursor"])

    def close(self, timeout: float | None = EXIT_SECONDS) -> bool:
        """Flush, and close the connections. Returns False if events were still queued after `timeout` seconds."""
        done = self._background.close(timeout)
        self._service.close()
        if self._http is not None:
            self._http.close()
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, prepared: Prepared, result: Receipt | PublishError) -> None:
        if not isinstance(result, PublishError):
            return
        if self._on_error is None:
            logger.error("an event was not published: %s", result.detail)
        else:
            self._on_error(json.loads(prepared.body), result)


def _direct(redis_url: str) -> Service:
    """The service's own code, which is no part of the client. Raises ClientError if it is not installed."""
    try:
        direct = importlib.import_module("pushsvc.publishing.direct")
    except ModuleNotFoundError as error:
        raise ClientError(f"redis_url needs {error.name}: pip install 'pushsvc[server]'") from error
    service: Service = direct.DirectService(redis_url)
    return service
