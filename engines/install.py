"""Brings the engines of `make engines` from PyPI, pinned. What cannot be had is said, and its tests are skipped."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.support import programs

FOLDER: Final = Path(__file__).parent
ENVIRONMENT: Final = FOLDER / ".venv"

if __name__ == "__main__":
    programs.bring_wheels(ENVIRONMENT, FOLDER / "requirements.txt")
