"""The order of the checks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from pushsvc.doctor import streams
from pushsvc.doctor.findings import Finding, found
from pushsvc.doctor.site import Site


def from_outside(site: Site) -> Iterator[Finding]:
    """Look at a deployment as its users do."""
    held = list(found("buffering", partial(streams.buffering, site)))
    yield from held
    if not any(each.mend for each in held):  # else all that follows would say the same
        yield from found("compression", partial(streams.compression, site))
        yield from found("idle time-out", partial(streams.idle, site))
