"""The rows of the first table: each a client, how a test starts it, and the columns in which it ends by itself."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from clients.drivers import browsers, runtimes
from clients.drivers.browsers import ENGINES, PLACES, Browsers
from clients.site.site import FAULTS, Site

LIVE: Final = "live"
WRONG: Final = "wrong token"
COLUMNS: Final = (LIVE, *FAULTS, WRONG)
RUNTIMES: Final = "runtimes"

# What helps, by its place among the notes under the table.
SNIPPET: Final = (
    "On a page of another origin Firefox takes a refused connection for CORS's no, and gives up for good. "
    "The snippet of listen.md comes back: the row below."
)
LOOP: Final = (
    "The library has no reconnects. The row below has it in a loop that keeps the last id and heeds `retry`: "
    "[listen.py](../clients/programs/listen.py), [listen.sh](../clients/programs/listen.sh)."
)
LINES: Final = (
    "It asks for ever, whatever the status. The row with the lines has those that stop it: "
    "[listen.mjs](../clients/programs/listen.mjs)."
)
WHOLE: Final = (
    "While no worker answers, nginx's own refusal is a whole answer, which the library takes for the end. "
    "`onclose() { throw new Error() }` brings it back, as in the row with the lines."
)
HEADERS: Final = (
    "It comes back with the last id in the URL, where a ticket's proof is worth nothing. "
    "Give it a token in its `headers`, as the row below does."
)


class Listener(Protocol):
    def placed(self) -> bool:
        """Whether it heard the `cursor` event, which not all clients show."""

    def heard(self) -> list[str]: ...

    def closed(self) -> bool:
        """Whether it said that it has ended for good."""

    def said(self) -> str:
        """Its output, for people who ask why it did not do what it should."""

    def close(self) -> None: ...


class World:
    """The things that the tests of one process share: the service, and the browsers once they are needed."""

    def __init__(self, folder: Path) -> None:
        self.site = Site(folder)
        self.browsers = Browsers(folder)

    def close(self) -> None:
        self.browsers.close()
        self.site.close()


class Wrong(enum.StrEnum):
    """A client's reaction to a wrong token."""

    ENDS = "told, and ends"
    INSISTS = "asks for ever"
    ANEW = "gets a new ticket, and goes on"


@dataclass(frozen=True)
class Row:
    name: str
    group: str  # those that live through a fault together
    start: Callable[[World, str, bool], Listener]  # as a user; with what opens the stream, or with what is wrong
    ends: dict[str, str] = field(default_factory=dict)  # the columns in which it does not go on, and what helps
    wrong: Wrong = Wrong.ENDS
    ticket: bool = False  # and nothing else: it can come back once it has heard its place


def _program(words: Callable[[], list[str]], *more: str, ticket: bool) -> Callable[[World, str, bool], Listener]:
    """The command that starts a program. `more`: the library, and the words after the token."""
    library, rest = more[:1], more[1:]

    def start(world: World, user: str, good: bool) -> Listener:
        site = world.site
        if ticket:
            return runtimes.Program(
                *words(), *library, site.ticket(user)["url"] if good else site.bad_ticket, "", *rest
            )
        token = site.stack.token(user) if good else "no.such.token"
        return runtimes.Program(*words(), *library, f"{site.url}/events", token, *rest)

    return start


def _by(way: str, name: str, words: Callable[[], list[str]], *more: str, **said: Any) -> Row:
    ticket = way == "ticket"
    return Row(f"{name}, {way}", RUNTIMES, _program(words, *more, ticket=ticket), ticket=ticket, **said)


def _without_reconnects(name: str, words: Callable[[], list[str]]) -> list[Row]:
    return [
        _by("token", f"`{name}`", words, name, ends=dict.fromkeys(FAULTS, LOOP)),
        _by("token", f"`{name}` in the loop", words, name, "loop"),
    ]


def _insisting(name: str, **ends: str) -> list[Row]:
    """The rows of a library that does not look at the status: by itself, and with the lines that do."""
    return [
        _by("ticket", f"`{name}`", runtimes.node, name, ends=ends, wrong=Wrong.INSISTS),
        _by("token", f"`{name}`", runtimes.node, name, ends=ends, wrong=Wrong.INSISTS),
        _by("ticket", f"`{name}` with the lines", runtimes.node, f"{name}, lines"),
        _by("token", f"`{name}` with the lines", runtimes.node, f"{name}, lines"),
    ]


def _page(engine: str, place: str, how: str) -> Row:
    make = browsers.alone if how == "EventSource" else browsers.with_the_snippet

    def start(world: World, user: str, good: bool) -> Listener:
        return make(world.browsers, world.site, engine, place, user, good)

    bare = how == "EventSource"
    ends = {"nginx stopped": SNIPPET} if engine == "Firefox" and bare and place != "same origin" else {}
    return Row(f"{engine}, {place}, {how}", engine, start, ends, Wrong.ENDS if bare else Wrong.ANEW, bare)


ROWS: Final = [
    *(
        _page(engine, place, how)
        for engine in ENGINES
        for place in PLACES
        for how in ("EventSource", "listen.md's snippet")
    ),
    _by("ticket", "Node's `EventSource`", runtimes.node, "own"),
    _by("ticket", "Deno's `EventSource`", runtimes.deno, "own"),
    *(
        _by(way, f"`eventsource` {number}", runtimes.node, f"eventsource{number}")
        for number in (2, 3, 4, 5)
        for way in ("ticket", "token")
    ),
    _by(
        "ticket",
        "`event-source-polyfill`",
        runtimes.node,
        "event-source-polyfill",
        ends=dict.fromkeys(FAULTS, HEADERS),
    ),
    _by("token", "`event-source-polyfill`", runtimes.node, "event-source-polyfill"),
    *_insisting("reconnecting-eventsource"),
    *_insisting("@microsoft/fetch-event-source", restart=WHOLE),
    *_insisting("eventsource-client"),
    *_without_reconnects("httpx-sse", runtimes.python),
    *_without_reconnects("sseclient-py", runtimes.python),
    *_without_reconnects("aiohttp-sse-client2", runtimes.python),
    *_without_reconnects("curl", runtimes.curl),
]
