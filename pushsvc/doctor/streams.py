"""Whether what lies between lets a stream through: each event at once, a heartbeat now and then, and no cut."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Final, NamedTuple

import httpx
import orjson

from pushsvc.client.sse import Message, Parser
from pushsvc.doctor.edge import Edge, find_edge, to_be_patient, to_flush
from pushsvc.doctor.findings import Finding, Wrong
from pushsvc.doctor.site import PATIENCE_SECONDS, Site, explained, find_direct

SOON_SECONDS: Final = 1.0  # in which an event should arrive
LATE_SECONDS: Final = 0.1  # by which an event may come later than the direct way
_TRIES: Final = 5  # events that are published, as one may be late by chance
_HEARTBEATS: Final = 2  # for which a stream is held
_PLAIN: Final = "no compression of text/event-stream in the proxy; PUSHSVC_COMPRESS_STREAMS=on sends each event at once"

Events = Iterator[Message]


class _Late(Exception):
    """The event that should have come did not."""


class _Ended(Exception):
    """The stream ended before its time."""


class _Way(NamedTuple):
    """The time that an event takes, in seconds from the beginning of its publish: medians of some tries. `answered`:
    until its publish was answered."""

    arrived: float
    answered: float


def buffering(site: Site) -> Iterator[Finding]:
    """Check that an event arrives when it is published, and not when the proxy has collected enough: as soon as from
    the workers, where these are on this machine, else as soon as the publish is answered."""
    direct = find_direct(site)
    try:
        way = _way(site, direct or site, "identity")
    except _Late:
        edge = find_edge(site)
        raise Wrong(f"{_name(edge)} collects events: one that was published did not arrive", to_flush(edge)) from None
    straight, what = (_way(direct, direct, "identity").arrived, "straight from the worker") if direct else (
        way.answered, "the answer to its publish")  # fmt: skip
    told = f"{1000 * way.arrived:.0f} ms, {what} {1000 * straight:.0f} ms"
    if way.arrived - straight > LATE_SECONDS or way.arrived > SOON_SECONDS:
        edge = find_edge(site)
        raise Wrong(f"{_name(edge)} holds events back: each arrived after {told}", to_flush(edge))
    yield Finding("buffering", f"an event arrived after {told}")


def _name(edge: Edge | None) -> str:
    return edge.name if edge else "the proxy"


def compression(site: Site) -> Iterator[Finding]:
    """Check that a client that takes compressed answers gets each event as soon. To be called after `buffering`."""
    try:
        way = _way(site, site, "gzip")
    except _Late:
        raise Wrong("the proxy compresses streams and collects events: one that was published did not arrive",
                    _PLAIN) from None  # fmt: skip
    if way.arrived - way.answered > LATE_SECONDS or way.arrived > SOON_SECONDS:
        raise Wrong(f"the proxy compresses streams and holds events back for {way.arrived:.1f} s", _PLAIN)
    yield Finding("compression", f"compressed answers asked for, an event arrived after {1000 * way.arrived:.0f} ms")


def idle(site: Site) -> Iterator[Finding]:
    """Check that a stream without events is not cut, and has heartbeats."""
    beat = site.settings.heartbeat_seconds
    begun = time.monotonic()
    came = 0
    try:
        with _stream(site, "identity", 2 * beat + PATIENCE_SECONDS) as stream:
            for event in stream:
                came += event.name == "heartbeat"
                if came == _HEARTBEATS:
                    break
            else:
                raise _Ended
    except _Late:
        raise Wrong(
            f"no heartbeat came in {time.monotonic() - begun:.0f} s",
            f"PUSHSVC_HEARTBEAT_SECONDS as the service has it (here it is {beat:g}), or a proxy that passes all on",
        ) from None
    except _Ended:
        raise Wrong(
            f"a stream was cut after {time.monotonic() - begun:.1f} s, with {came} heartbeats",
            f"{to_be_patient(find_edge(site))}, or a smaller PUSHSVC_HEARTBEAT_SECONDS (here it is {beat:g})",
        ) from None
    yield Finding("idle time-out", f"a stream stayed open for {time.monotonic() - begun:.0f} s, with heartbeats")


def _way(site: Site, publisher: Site, coding: str) -> _Way:
    """Publish through one way, and listen at the other. Raises Wrong, or _Late."""
    arrived, answered = [], []
    try:
        with _stream(site, coding, PATIENCE_SECONDS) as stream:
            _next(stream, lambda event: event.name == "cursor")
            for _ in range(_TRIES):
                begun = time.monotonic()
                event_id = publisher.publish()
                answered.append(time.monotonic() - begun)
                _next(stream, _is(event_id))
                arrived.append(time.monotonic() - begun)
    except _Ended:
        raise Wrong("a stream was cut as soon as it had begun", "look at the log of the proxy, and of the service"
                    ) from None  # fmt: skip
    return _Way(median(arrived), median(answered))


def _is(event_id: str) -> Callable[[Message], bool]:
    return lambda event: event.own and event.id == event_id


def _next(stream: Events, wanted: Callable[[Message], bool]) -> None:
    """Read up to an event. Raises _Late if it does not come, or _Ended."""
    end = time.monotonic() + PATIENCE_SECONDS
    for event in stream:
        if wanted(event):
            return
        if time.monotonic() > end:
            raise _Late
    raise _Ended


@contextmanager
def _stream(site: Site, coding: str, silence_seconds: float) -> Iterator[Events]:
    """Open a stream that moves no unread position. Raises Wrong if it is refused; reading raises _Late after a silence,
    and _Ended where it is cut."""
    query = {"since": "now", "ack": "manual", "heartbeat": "event"}
    accept = {"Accept": "text/event-stream", "Accept-Encoding": coding}
    try:
        with (
            site.client(silence_seconds) as client,
            client.stream("GET", "/events", params=query, headers=accept) as answer,
        ):
            if answer.headers.get("Content-Type", "").partition(";")[0] != "text/event-stream":
                answer.read()
                raise Wrong(f"no stream opens: {explained(answer)}", site.token_needed)
            yield _welcome(_events(answer))
    except httpx.ReadTimeout as error:
        raise _Late from error
    except httpx.HTTPError as error:
        raise _Ended from error


def _events(answer: httpx.Response) -> Events:
    parser = Parser()
    for piece in answer.iter_bytes():
        yield from parser.feed(piece)


def _welcome(stream: Events) -> Events:
    for event in stream:
        if event.name == "refused" and not event.own:
            raise Wrong(f"the service refuses streams now: {orjson.loads(event.data)['detail']}", "try again later")
        yield event
