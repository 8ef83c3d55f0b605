"""The findings of one check of the doctor."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pushsvc.config import Settings
from pushsvc.doctor.findings import Finding, Wrong
from pushsvc.doctor.site import Site, find_site
from tests.support.stack import SECRET


def site(url: str, **settings: object) -> Site:
    """The service at `url`, by a token that is made here."""
    return find_site(url, "", Settings.model_validate({"heartbeat_seconds": 1} | settings), lambda: SECRET)


def look(check: Callable[[Site], Iterator[Finding]], at: Site) -> Finding:
    """The worst that it finds."""
    try:
        return max(check(at), key=lambda finding: bool(finding.mend))
    except Wrong as wrong:
        return Finding("-", wrong.text, wrong.mend)
