"""The order of the checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from pushsvc.doctor import streams, surface, tls
from pushsvc.doctor.findings import Finding, Wrong
from pushsvc.doctor.site import Site


class _Check(NamedTuple):
    """`needed`: where it cannot go on, those after it would find the same, or it is not safe to make them."""

    name: str
    look: Callable[[Site], Iterator[Finding]]
    needed: bool = False


_CHECKS: Final = (
    _Check("certificate", tls.certificate, needed=True),
    _Check("readiness", surface.readiness, needed=True),
    _Check("HTTP", tls.http_version),
    _Check("clock", surface.clock),
    _Check("CORS", surface.cors),
    _Check("cookies", surface.cookies),
    _Check("buffering", streams.buffering, needed=True),
    _Check("compression", streams.compression),
    _Check("idle time-out", streams.idle),
)


def from_outside(site: Site) -> Iterator[Finding]:
    """Look at a deployment as its users do."""
    for check in _CHECKS:
        try:
            yield from check.look(site)
        except Wrong as wrong:
            yield Finding(check.name, wrong.text, wrong.mend)
            if check.needed:
                return
