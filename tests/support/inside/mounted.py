"""A copy of the service that serves the applications of wsgi.py beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.inside import wsgi
from tests.support.stack import copied


def with_applications(folder: Path) -> Path:
    """Make the copy."""
    copied(folder)
    shutil.copy(wsgi.__file__, folder / "tested.py")
    with (folder / "app.py").open("a") as text:
        text.write("\nfrom tested import mount\n\nmount(app)\n")
    return folder
