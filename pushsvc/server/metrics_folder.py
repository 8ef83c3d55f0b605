"""The folder in which the workers of one gunicorn keep what they count, see pushsvc/metrics.py."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"  # as prometheus_client names it


def choose(data_dir: Path) -> None:
    """Make the folder of this gunicorn's workers, and remove those of gunicorns that have ended. To be called in the
    master, before a worker is forked. What the environment says stands."""
    if _VARIABLE in os.environ:
        return
    all_folders = data_dir / "metrics"
    mine = all_folders / str(os.getpid())
    with suppress(OSError):  # without a folder each worker answers for itself
        shutil.rmtree(mine, ignore_errors=True)  # of a gunicorn that has ended: in a container each has the same id
        mine.mkdir(parents=True, exist_ok=True)
        for other in all_folders.iterdir():
            if not Path(f"/proc/{other.name}").exists() and Path("/proc/self").exists():
                shutil.rmtree(other, ignore_errors=True)
        os.environ[_VARIABLE] = str(mine)
