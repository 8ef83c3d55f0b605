"""Decides whether this worker takes more connections, in all its partitions together."""

from __future__ import annotations

from collections.abc import Callable

from gevent.monkey import is_module_patched

from pushsvc.errors import Unavailable


class Capacity:
    """The number of connections that a worker may hold, and whether it still takes new ones. All hubs of a worker share
    one Capacity."""

    def __init__(self, most: int, held: Callable[[], int]) -> None:
        """`most`: the largest number of connections; `held`: counts the present ones."""
        self._most = most
        self._held = held
        self._leaving = False
        self._accepting = True
        self._detaches = False

    def __len__(self) -> int:
        return self._held()

    @property
    def most(self) -> int:
        """The largest number of connections."""
        return self._most

    @property
    def detaches(self) -> bool:
        """Whether the server can give sockets to the Hub, so that a stream needs no greenlet."""
        return self._detaches

    @property
    def leaving(self) -> bool:
        """Whether the worker will stop soon and no new worker replaces it: it is not ready, but takes connections."""
        return self._leaving

    @property
    def stopping(self) -> bool:
        """Whether the worker should get no more traffic."""
        return self._leaving or not self._accepting

    def limit(self, most: int) -> None:
        """Set the largest number of connections. Present connections stay, even if there are more."""
        self._most = most

    def allow_detaching(self, *, allowed: bool = True) -> None:
        """Set whether the server can give sockets to the Hub; without this call it cannot."""
        self._detaches = allowed

    def announce_stop(self) -> None:
        """Be not ready from now on, so that proxies use other workers; connections that still come are taken."""
        self._leaving = True

    def stop_accepting(self) -> None:
        """Accept no more connections. Harmless when repeated."""
        self._accepting = False

    def check(self) -> None:
        """Raise Unavailable if this worker accepts no more connections.

        This is cheap. `Hub.join` makes the decisive check; a view checks before that, to refuse before it does work.
        """
        if not self._accepting:
            raise Unavailable("This worker is stopping; connect again.", retry_after=1)
        if len(self) >= self._most:
            raise Unavailable("This worker is full; try again later.", retry_after=5)
        if not is_module_patched("socket"):
            raise Unavailable("This server cannot hold streams: it needs gunicorn's gevent worker.", retry_after=60)
