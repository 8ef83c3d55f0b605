"""Brings what `make clients` needs: browsers and Node from Debian where apt may be used, and the pinned libraries.

What cannot be had is said, and its cells are skipped by name.
"""

from __future__ import annotations

from typing import Final

from clients.drivers.runtimes import ENVIRONMENT, FOLDER, MODULES
from tests.support import programs

_PACKAGES: Final = {
    programs.CHROMIUM: ["chromium"],
    programs.FIREFOX: ["firefox-esr"],
    programs.WEBKIT: ["webkit2gtk-driver"],
    programs.XVFB: ["xvfb"],
    programs.CURL: ["curl"],
    programs.NPM: ["nodejs", "npm"],
}


def main() -> None:
    programs.install(_PACKAGES)
    programs.bring_modules(MODULES, FOLDER / "package-lock.json")
    programs.bring_wheels(ENVIRONMENT, FOLDER / "requirements.txt")


if __name__ == "__main__":
    main()
