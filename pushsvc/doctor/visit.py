"""The order of the checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from pushsvc.config import Settings, redis_url
from pushsvc.doctor import data, machine, streams, surface, tls
from pushsvc.doctor.findings import Finding, Wrong
from pushsvc.doctor.site import Site
from pushsvc.errors import ConfigError


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

_INSIDE: Final[dict[str, Callable[[Settings], Iterator[Finding]]]] = {
    "Redis": data.server, "latency": data.latency, "descriptors": machine.descriptors, "kernel": machine.kernel,
}  # fmt: skip


def from_outside(site: Site) -> Iterator[Finding]:
    """Look at a deployment as its users do. It stops where a needed check cannot go on."""
    for check in _CHECKS:
        try:
            yield from check.look(site)
        except Wrong as wrong:
            yield Finding(check.name, wrong.text, wrong.mend)
            if check.needed:
                return


def choose_site(url: str, settings: Settings, at: Callable[[str], Site]) -> tuple[Site, list[Finding]]:
    """Choose what is looked at: the service at `url`; else at PUBLIC_URL, where that answers from here; else at
    PUSHSVC_HTTP. `at`: makes the site of an URL. Raises ConfigError."""
    if url or not settings.public_url:
        return at(url), []
    site = at(settings.public_url)
    try:
        site.ask("GET", "/healthz")
    except Wrong as wrong:
        return at(""), [Finding("PUBLIC_URL", f"from here {wrong.text}", "ask the doctor where browsers are", False)]
    return site, []


def from_inside(settings: Settings) -> Iterator[Finding]:
    """Look at Redis and this machine, if the settings here name a Redis, or have one embedded."""
    try:
        redis_url(settings)
    except ConfigError:
        yield Finding("Redis", "not looked at, nor the machine: the settings here name none that runs")
        return
    for name, look in _INSIDE.items():
        try:
            yield from look(settings)
        except Wrong as wrong:
            yield Finding(name, wrong.text, wrong.mend)
