"""Sends prepared events, and sends again what the service could not take for now: the keys make that safe."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from pushsvc.client.backoff import Backoff
from pushsvc.client.errors import Foreign, PublishError, ServiceError
from pushsvc.client.http.transport import Transport
from pushsvc.client.items import Answer, Prepared, batches, read_answer
from pushsvc.client.results import Receipt

T = TypeVar("T")


class Service(Protocol):
    """Takes events: over HTTP, or straight in Redis."""

    def one(self, body: bytes) -> Answer:
        """Publish one event. Raises ServiceError."""

    def batch(self, bodies: Sequence[bytes]) -> Sequence[Answer]:
        """Publish several, and answer each in order. Raises ServiceError."""

    def renew_token(self) -> bool:
        """Get a fresh token. Returns whether there is another one."""

    def close(self) -> None:
        """Close the connections."""


class HttpService:
    """The service over HTTP."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.renew_token = transport.renew_token
        self.close = transport.close

    def one(self, body: bytes) -> Answer:
        """Publish one event. Raises ServiceError."""
        return self.post("/publish", body)

    def batch(self, bodies: Sequence[bytes]) -> Sequence[Answer]:
        """Publish several, and answer each in order. Raises ServiceError."""
        answer = self.post("/publish", b"[%s]" % b",".join(bodies))
        results: Sequence[Answer] = answer.get("results", ())
        if len(results) != len(bodies):
            raise ServiceError("the service answered other events than were sent", temporary=False)
        return results

    def post(self, path: str, body: bytes) -> dict[str, Any]:
        """Post JSON, and give the answer's. Raises ServiceError."""
        response = self.transport.request("POST", path, body)
        if response.is_json():
            try:
                found = json.loads(response.body)
            except ValueError:
                found = None
            if isinstance(found, dict):
                return found
        raise self.transport.refusal(response)


class Retrying:
    """Repeats what fails for now, for at most `patience` seconds."""

    def __init__(self, service: Service, patience: float) -> None:
        self.service = service
        self.patience = patience

    def run(self, call: Callable[[], T]) -> T:
        """Call until it succeeds. Raises ServiceError: the last one, if time is up, or the first that will stay."""
        until = time.monotonic() + self.patience
        backoff, renewed = Backoff(), False
        while True:
            try:
                return call()
            except ServiceError as error:
                if error.status == 401 and not renewed and self.service.renew_token():
                    renewed = True
                    continue
                pause = backoff.pause(error.retry_after)
                if not error.temporary or time.monotonic() + pause > until:
                    raise
            time.sleep(pause)

    def one(self, prepared: Prepared) -> Receipt:
        """Publish one event. Raises PublishError."""

        def call() -> Receipt:
            found = read_answer(self.service.one(prepared.body), prepared)
            if isinstance(found, PublishError):  # for one of several users
                raise found
            return found

        try:
            return self.run(call)
        except ServiceError as error:
            raise as_publish_error(error, prepared.key) from error

    def many(self, prepared: Sequence[Prepared]) -> list[Receipt | PublishError]:
        """Publish many events, and give what became of each, in order."""
        return self._all(batches(prepared))[0]

    def _all(self, requests: Iterable[Sequence[Prepared]]) -> tuple[list[Receipt | PublishError], ServiceError | None]:
        """The outcome of each; and the error, if the service took no more."""
        found: list[Receipt | PublishError] = []
        failure: ServiceError | None = None
        for batch in requests:
            if failure is None:
                results, failure = self._batch(batch)
                found += results
            else:  # the service was waited for already
                found += [as_publish_error(failure, each.key) for each in batch]
        return found, failure

    def _batch(self, batch: Sequence[Prepared]) -> tuple[list[Receipt | PublishError], ServiceError | None]:
        """The outcome of each; and the error, if the service took no more."""
        results: list[Receipt | PublishError] = [PublishError("not sent")] * len(batch)
        pending = list(range(len(batch)))

        def call() -> None:
            nonlocal pending
            answers = self.service.batch([batch[number].body for number in pending])
            for number, answer in zip(pending, answers, strict=True):
                results[number] = read_answer(answer, batch[number])
            later = [(number, each) for number in pending if _waits(each := results[number])]
            pending = [number for number, _ in later]
            if later:
                first = later[0][1]
                assert isinstance(first, PublishError)
                raise ServiceError(first.detail, status=first.status, temporary=True)

        try:
            self.run(call)
        except ServiceError as error:
            untaken, failure = self._untaken([batch[number] for number in pending], error)
            for number, result in zip(pending, untaken, strict=True):
                results[number] = result
            return results, failure if len(pending) == len(batch) else None
        return results, None

    def _untaken(
        self, left: Sequence[Prepared], error: ServiceError
    ) -> tuple[list[Receipt | PublishError], ServiceError | None]:
        """The outcome of each event of a request that failed. One that is too large, or cannot be read, is sent in
        halves, down to the events that are to blame."""
        if not _blames_body(error):
            return [as_publish_error(error, each.key) for each in left], error
        if len(left) > 1:
            half = len(left) // 2
            return self._all([left[:half], left[half:]])
        refused = as_publish_error(error, left[0].key)
        refused.of_request = False
        return [refused], None


def _waits(result: Receipt | PublishError) -> bool:
    return isinstance(result, PublishError) and result.temporary


def _blames_body(error: ServiceError) -> bool:
    """Whether a part of the body may be taken: it is too large for the service, or for a proxy; or it is wrong."""
    return error.status == 413 or (error.status == 400 and not isinstance(error, Foreign))


def as_publish_error(error: ServiceError, key: str | None) -> PublishError:
    """The same error, of one event in the request."""
    if isinstance(error, PublishError):
        return error.of(key)
    found = PublishError(
        error.detail,
        status=error.status,
        errors=error.errors,
        retry_after=error.retry_after,
        temporary=error.temporary,
    ).of(key)
    found.of_request = True
    return found
