"""The old name of `server/gunicorn_conf.py`, for commands and systemd units that say `-c pushsvc/gunicorn_conf.py`. A
gunicorn master that an earlier version started also reads this file when it reloads."""

import runpy
from pathlib import Path

globals().update(runpy.run_path(str(Path(__file__).with_name("server") / "gunicorn_conf.py")))
