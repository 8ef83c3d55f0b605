"""Lets metrics be switched off and on while a service runs, in each Python that starts with this folder in its path: at
the first signal prometheus_client counts nothing, and the calls are all that is left of metrics; at the second it
counts again."""

from __future__ import annotations

import signal
from typing import Any

_calls: dict[tuple[type, str], Any] = {}


def _nothing(*_: object) -> None:
    return


def _switch(number: int, _: object) -> None:
    from prometheus_client import Counter, Gauge, Histogram  # whose kind of files is decided when it is loaded

    if not _calls:
        names = {Counter: ("inc",), Gauge: ("inc", "dec", "set"), Histogram: ("observe",)}
        _calls.update({(kind, name): getattr(kind, name) for kind, found in names.items() for name in found})
    for (kind, name), call in _calls.items():
        setattr(kind, name, _nothing if number == signal.SIGRTMIN + 1 else call)


signal.signal(signal.SIGRTMIN + 1, _switch)
signal.signal(signal.SIGRTMIN + 2, _switch)
