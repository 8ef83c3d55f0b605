"""One thing that is to be done later."""

from __future__ import annotations

from collections.abc import Callable

import gevent


class Timer:
    """Calls something later: one thing at a time."""

    def __init__(self) -> None:
        self._greenlet: gevent.Greenlet | None = None

    def call(self, what: Callable[[], None], seconds: float = 0.0) -> None:
        """Call something later, in place of what was to be called. That may do so itself."""
        self.stop()
        self._greenlet = gevent.spawn_later(seconds, what) if seconds else gevent.spawn(what)

    def stop(self) -> None:
        """Call nothing."""
        greenlet, self._greenlet = self._greenlet, None
        if greenlet is not None and greenlet is not gevent.getcurrent():
            greenlet.kill(block=False)
