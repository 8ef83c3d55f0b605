"""Whether this worker takes more connections, whatever their partition."""

from __future__ import annotations

from collections.abc import Callable

from gevent.monkey import is_module_patched

from pushsvc.errors import Unavailable


class Capacity:
    """How many connections a worker may hold, and whether it still takes any. All hubs of a worker share one."""

    def __init__(self, most: int, held: Callable[[], int]) -> None:
        """`most`: connections there may be; `held`: how many there are."""
        self._most = most
        self._held = held
        self._leaving = False
        self._accepting = True
        self._detaches = False

    def __len__(self) -> int:
        return self._held()

    @property
    def most(self) -> int:
        """How many connections there may be."""
        return self._most

    @property
    def detaches(self) -> bool:
        """Whether the server gives its sockets away, so that a stream needs no greenlet."""
        return self._detaches

    @property
    def leaving(self) -> bool:
        """Whether the worker will stop in a moment, and nobody takes over: it is not ready, but takes connections."""
        return self._leaving

    @property
    def stopping(self) -> bool:
        """Whether the worker should get no more traffic."""
        return self._leaving or not self._accepting

    def limit(self, most: int) -> None:
        """Hold at most so many connections from now on; those that are here stay."""
        self._most = most

    def allow_detaching(self, *, allowed: bool = True) -> None:
        """Tell whether the server gives its sockets away; until it says so, it does not."""
        self._detaches = allowed

    def announce_stop(self) -> None:
        """Be not ready from now on, so that proxies turn away; connections that come all the same are taken."""
        self._leaving = True

    def stop_accepting(self) -> None:
        """Take no more connections. Harmless when repeated."""
        self._accepting = False

    def check(self) -> None:
        """Raise Unavailable if this worker takes no more connections.

        Costs nothing. `Hub.join` has the last word; a view asks before it does anything that would be in vain.
        """
        if not self._accepting:
            raise Unavailable("This worker is stopping; connect again.", retry_after=1)
        if len(self) >= self._most:
            raise Unavailable("This worker is full; try again later.", retry_after=5)
        if not is_module_patched("socket"):
            raise Unavailable("This server cannot hold streams: it needs gunicorn's gevent worker.", retry_after=60)
