"""A kept-alive connection on which no request has begun."""

from __future__ import annotations

from typing import Any

import gevent


class KeepAlive(gevent.Timeout):
    """A wait that ends quietly: by a request, after `seconds`, or when the worker throws this into it."""

    def __init__(self, idle: dict[KeepAlive, gevent.Greenlet], seconds: float) -> None:
        super().__init__(seconds, False)
        self._waiting = idle

    def __enter__(self) -> KeepAlive:
        self._waiting[self] = gevent.getcurrent()
        super().__enter__()
        return self

    def __exit__(self, kind: Any, value: Any, traceback: Any) -> bool | None:
        del self._waiting[self]
        quiet: bool | None = super().__exit__(kind, value, traceback)
        return quiet
