"""The parts of one worker, and their life: made by `create_app`, started in the worker, stopped with it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from flask import current_app
from gevent.monkey import is_module_patched

from pushsvc.config import Settings
from pushsvc.errors import Unavailable
from pushsvc.event import Limits
from pushsvc.eventlog import EventLog
from pushsvc.generations import Generations
from pushsvc.hub import Hub
from pushsvc.loops import Loop
from pushsvc.presence import Presence
from pushsvc.store import Store
from pushsvc.tickets import Tickets

logger = logging.getLogger(__name__)

EXTENSION: Final = "pushsvc"  # where Flask's `extensions` has the Service
FLUSH_SECONDS: Final = 2.0  # a stopping worker tries so long to write what it still knows


@dataclass(frozen=True)
class Service:
    settings: Settings
    secret: str
    limits: Limits
    store: Store
    log: EventLog
    hub: Hub
    presence: Presence
    tickets: Tickets
    generations: Generations

    def start(self) -> None:
        """Start the background loops; harmless when repeated. Needs the process that will serve, and greenlets: where
        gevent has not patched the standard library there are none, and streams are refused."""
        if not is_module_patched("socket"):
            return
        self.hub.bus.start()
        for loop in self._loops():
            loop.start()

    def stop(self) -> None:
        """Write what is known, then end the loops."""
        self.end_answers()
        if not self.hub.connections.positions.flush(FLUSH_SECONDS):
            logger.error("positions of some users could not be written; they may get events twice")
        for loop in self._loops():
            loop.stop()
        self.hub.bus.stop()
        try:
            self.presence.write()
        except Unavailable:
            logger.warning("the end of this worker's connections could not be written; they run out by themselves")

    def end_answers(self) -> None:
        """Those that still run; they cannot go on elsewhere. Harmless when repeated."""
        if not self.generations.stop(FLUSH_SECONDS):
            logger.error("the ends of some answers could not be written; another worker will")

    def unready(self) -> str | None:
        """Why this worker should get no traffic; None: it should."""
        if self.hub.draining:
            return "This worker is stopping."
        if not self.hub.bus.live:
            return "The subscription to Redis is not proven live."
        for loop in self._loops():
            if not loop.healthy:
                return f"The background loop {loop.name} does not run."
        return None

    def _loops(self) -> tuple[Loop, ...]:
        return (
            self.hub.loop,
            self.hub.connections.loop,
            self.hub.connections.positions.loop,
            self.presence.loop,
            *self.generations.loops,
        )


def service() -> Service:
    """The Service of the Flask application at hand."""
    found = current_app.extensions[EXTENSION]
    assert isinstance(found, Service)
    return found
