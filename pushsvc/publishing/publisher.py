"""Publishing, whatever brings the events: checked, stored in few round trips, and answered one by one."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Final

from pushsvc import metrics
from pushsvc.auth import Identity
from pushsvc.concurrency.shares import SharedSlice
from pushsvc.errors import Invalid, PushError, TooLarge, Unavailable
from pushsvc.events.event import Event
from pushsvc.events.publication import Limits, Publication, parse_publication
from pushsvc.storage.counts.rates import Along, Rates, Share
from pushsvc.storage.log import Receipt
from pushsvc.storage.partitioned_log import Appender, JoinedReceipt
from pushsvc.telemetry import spans
from pushsvc.telemetry.logs import EVENTS, tell

Answer = dict[str, Any]

_SPANS: Final = {"messaging.system": "pushsvc", "messaging.operation.type": "send"}
_RESULTS: Final = [metrics.PUBLISHED.labels(result) for result in ("new", "duplicate", "refused")]


class Publisher:
    """Publishes what one caller sends, within the caller's rights."""

    def __init__(
        self,
        identity: Identity,
        log: Appender,
        limits: Limits,
        rates: Rates | None = None,
        topics: Share | None = None,
    ) -> None:
        """`rates`: those of publishing, if there are any; `topics`: what the caller may take of those of new topics."""
        self.limits = limits
        self.identity = identity
        self._log = log
        self._rates = rates
        self._along = Along(topics=topics)

    def publish(self, item: Any, header_key: str | None) -> Answer:
        """Publish one event, as parsed from JSON. `header_key`: the request's Idempotency-Key. Raises PushError."""
        publication = self._parse(item, header_key)
        receipts = self._store(publication.events)
        if publication.users is None and isinstance(receipts[0], PushError):
            raise receipts[0]
        return _answer(publication, receipts)

    def publish_batch(self, items: Iterable[Any]) -> list[Answer]:
        """Publish many events in one round trip, and answer each in order; a bad one harms no other. Raises TooLarge,
        or Unavailable if Redis takes none now: the same can be sent again."""
        checked: list[Publication | PushError] = []
        count, most, turn = 0, self.limits.batch, SharedSlice()
        for item in items:
            checked.append(each := self.check(item))
            count += count_events([each])
            if max(count, len(checked)) > most:  # lists of users multiply: a small request could be a million events
                raise TooLarge(f"The batch makes more than {most} events, which are taken at once at most.")
            turn.yield_if_over()
        return self.publish_checked(checked)

    def check(self, item: Any) -> Publication | PushError:
        """Check one event of several. An error stands for itself."""
        try:
            return self._parse(item, None)
        except PushError as error:
            return error.to_keep()

    def publish_checked(self, checked: Sequence[Publication | PushError]) -> list[Answer]:
        """Store checked events in one round trip, and answer each in order. Raises Unavailable as `publish_batch`."""
        good = [each for each in checked if isinstance(each, Publication)]
        receipts = iter(self._store([event for publication in good for event in publication.events]))
        return [
            _answer(each, list(islice(receipts, len(each.events)))) if isinstance(each, Publication) else refused(each)
            for each in checked
        ]

    def _parse(self, item: Any, header_key: str | None) -> Publication:
        publication = parse_publication(item, self.limits, header_key)
        self.identity.need_publish(event.channel for event in publication.events)
        return publication

    def _store(self, events: Sequence[Event]) -> Sequence[Receipt | JoinedReceipt | PushError]:
        """Store the events, and give what became of each. Raises Unavailable if Redis takes none now, TooManyRequests
        if they are over a rate: the request can be repeated as it is; or TooLarge if they always will be."""
        if self._rates is None:
            return self._append(events, self._along)
        mark = self.identity.mark
        if len(events) == 1 and self._log.together:
            return self._append(events, self._along._replace(events=self._rates.share(mark, 1)))
        with self._rates.counting(mark, len(events)) as counted:
            counted()
            return self._append(events, self._along)

    def _append(self, events: Sequence[Event], along: Along) -> Sequence[Receipt | JoinedReceipt | PushError]:
        if spans.recording() and events:
            with spans.spanned("publish", "PRODUCER", _SPANS) as told:
                answers = self._log.append(events, along)
                told |= _told(events, answers)
        else:
            answers = self._log.append(events, along) if events else []
        _count(answers)
        if EVENTS.isEnabledFor(logging.INFO):
            _tell(events, answers)
        for error in answers[:1]:
            if isinstance(error, Unavailable) and all(isinstance(answer, Unavailable) for answer in answers):
                raise error
        return answers


def _count(answers: Sequence[Receipt | JoinedReceipt | PushError]) -> None:
    refused = sum(isinstance(answer, PushError) for answer in answers)
    repeated = sum(not isinstance(answer, PushError) and answer.duplicate for answer in answers)
    for counter, number in zip(_RESULTS, (len(answers) - refused - repeated, repeated, refused), strict=True):
        if number:
            counter.inc(number)


def _told(events: Sequence[Event], answers: Sequence[Receipt | JoinedReceipt | PushError]) -> dict[str, Any]:
    """The attributes of a span about them."""
    told: dict[str, Any] = {"messaging__batch__message_count": len(events)}
    if len(events) == 1:
        told["messaging__destination__name"] = events[0].channel
        if not isinstance(answers[0], PushError):
            told["messaging__message__id"] = str(answers[0].id)
    if all(isinstance(answer, PushError) for answer in answers):
        told["error"] = type(answers[0]).__name__
    return told


def _tell(events: Sequence[Event], answers: Sequence[Receipt | JoinedReceipt | PushError]) -> None:
    for event, answer in zip(events, answers, strict=True):
        if isinstance(answer, PushError):
            tell(EVENTS, "refused", channel=event.channel, status=answer.status, why=answer.title)
        else:
            tell(
                EVENTS, "published", event_id=str(answer.id), channel=event.channel, duplicate=answer.duplicate or None
            )


def count_events(checked: Sequence[Publication | PushError]) -> int:
    """The number of events that these make: an event for several users is one for each."""
    return sum(len(each.events) for each in checked if isinstance(each, Publication))


def need_no_key(header_key: str | None) -> None:
    """Check that a request with many events has no key for all of them. Raises Invalid."""
    if header_key is not None:
        raise Invalid.field("Idempotency-Key", "goes with a single event; in a batch each event has its own key.")


def refused(error: PushError) -> Answer:
    """The answer to an event that is refused."""
    return {"error": error.problem()}


def _answer(publication: Publication, receipts: Sequence[Receipt | JoinedReceipt | PushError]) -> Answer:
    answers = [
        refused(receipt) if isinstance(receipt, PushError) else {"id": str(receipt.id), "duplicate": receipt.duplicate}
        for receipt in receipts
    ]
    if publication.users is None:
        return answers[0]
    pairs = zip(publication.users, answers, strict=True)
    return {"results": [{"user": user, **answer} for user, answer in pairs]}
