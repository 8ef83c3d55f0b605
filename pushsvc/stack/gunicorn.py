"""The gunicorn that `up` and `serve` start."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent.parent.parent  # where app.py is, and gunicorn looks for it
COMMAND: Final = [sys.executable, "-m", "gunicorn", "-c", str(FOLDER / "pushsvc/server/gunicorn_conf.py"), "app:app"]
