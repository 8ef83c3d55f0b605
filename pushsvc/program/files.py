"""The places of the files that are no modules: the pages' templates, nginx's configuration and the WSGI entry. A
checkout has them at its top, an installed wheel inside the package."""

from __future__ import annotations

from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).resolve().parent.parent
CHECKOUT: Final = (PACKAGE.parent / "app.py").is_file() and (PACKAGE.parent / "templates").is_dir()
FOLDER: Final = PACKAGE.parent if CHECKOUT else PACKAGE / "_files"  # has app.py, templates/ and nginx/
