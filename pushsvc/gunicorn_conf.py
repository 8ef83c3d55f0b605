"""The old name of `server/gunicorn_conf.py`, for commands and units that say `-c pushsvc/gunicorn_conf.py`: among them
those by which masters run that an earlier version started, and that are told to reload."""

import runpy
from pathlib import Path

globals().update(runpy.run_path(str(Path(__file__).with_name("server") / "gunicorn_conf.py")))
