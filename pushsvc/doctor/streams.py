"""Whether what lies between lets a stream through: each event at once, a heartbeat now and then, and no cut."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import httpx
import orjson

from pushsvc.client.sse import Message, Parser
from pushsvc.doctor.findings import Finding, Wrong
from pushsvc.doctor.site import PATIENCE_SECONDS, Site, explained

SOON_SECONDS: Final = 1.0  # in which an event should arrive
_TRIES: Final = 3  # events that are published, as one may be late by chance
_HEARTBEATS: Final = 2  # for which a stream is held
_UNBUFFERED: Final = (
    "proxy_buffering off (nginx), or whatever keeps the proxy from collecting an answer before it sends it"
)
_PLAIN: Final = "no compression of text/event-stream in the proxy; PUSHSVC_COMPRESS_STREAMS=on sends each event at once"

Events = Iterator[Message]


class _Late(Exception):
    """What should have come did not."""


class _Ended(Exception):
    """The stream ended before its time."""


def buffering(site: Site) -> Iterator[Finding]:
    """Check that an event arrives when it is published, and not when the proxy has collected enough."""
    try:
        seconds = _arrival(site, "identity")
    except _Late:
        raise Wrong("the proxy collects events: one that was published did not arrive", _UNBUFFERED) from None
    if seconds > SOON_SECONDS:
        raise Wrong(f"the proxy holds events back: each arrived {seconds:.1f} s after its publish", _UNBUFFERED)
    yield Finding("buffering", f"an event arrived after {1000 * seconds:.0f} ms")


def compression(site: Site) -> Iterator[Finding]:
    """Check that a client that takes compressed answers gets each event as soon. To be called after `buffering`."""
    try:
        seconds = _arrival(site, "gzip")
    except _Late:
        raise Wrong("the proxy compresses streams and collects events: one that was published did not arrive",
                    _PLAIN) from None  # fmt: skip
    if seconds > SOON_SECONDS:
        raise Wrong(f"the proxy compresses streams and holds events back for {seconds:.1f} s", _PLAIN)
    yield Finding("compression", f"compressed answers asked for, an event arrived after {1000 * seconds:.0f} ms")


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
            "a longer time-out in the proxy (proxy_read_timeout 1h; in nginx), or a smaller PUSHSVC_HEARTBEAT_SECONDS "
            f"(here it is {beat:g})",
        ) from None
    yield Finding("idle time-out", f"a stream stayed open for {time.monotonic() - begun:.0f} s, with heartbeats")


def _arrival(site: Site, coding: str) -> float:
    """Seconds from a publish to its arrival: the least of some tries. Raises Wrong, or _Late."""
    least = float("inf")
    try:
        with _stream(site, coding, PATIENCE_SECONDS) as stream:
            _next(stream, lambda event: event.name == "cursor")
            for _ in range(_TRIES):
                begun = time.monotonic()
                _next(stream, _is(site.publish()))
                least = min(least, time.monotonic() - begun)
                if least <= SOON_SECONDS:
                    break
    except _Ended:
        raise Wrong("a stream was cut as soon as it had begun", "look at the log of the proxy, and of the service"
                    ) from None  # fmt: skip
    return least


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
