"""Whether this worker takes more connections, whatever their partition."""

from __future__ import annotations

from collections.abc import Callable

from gevent.monkey import is_module_patched

from pushsvc.errors import Unavailable


class Capacity:
    """What all hubs of a worker have in common."""

    def __init__(self, most: int, held: Callable[[], int]) -> None:
        """`most`: connections there may be; `held`: how many there are."""
        self.most = most
        self.leaving = False  # not ready: this worker will stop in a moment, and nobody takes over
        self.draining = False
        self.detaches = False  # set by a server that gives its sockets away
        self._held = held

    def __len__(self) -> int:
        return self._held()

    def check(self) -> None:
        """Raises Unavailable if this worker takes no more connections. Costs nothing, so it is asked first."""
        if self.draining:
            raise Unavailable("This worker is stopping; connect again.", retry_after=1)
        if len(self) >= self.most:
            raise Unavailable("This worker is full; try again later.", retry_after=5)
        if not is_module_patched("socket"):
            raise Unavailable("This server cannot hold streams: it needs gunicorn's gevent worker.", retry_after=60)
