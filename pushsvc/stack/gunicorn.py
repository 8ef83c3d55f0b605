"""The gunicorn that `up` and `serve` start."""

from __future__ import annotations

import sys
from typing import Final

from pushsvc.program.files import FOLDER, PACKAGE

__all__ = ["COMMAND", "FOLDER"]  # FOLDER: where app.py is, and gunicorn looks for it

COMMAND: Final = [sys.executable, "-m", "gunicorn", "-c", str(PACKAGE / "server/gunicorn_conf.py"), "app:app"]
