"""The embedded Redis's address."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final

from pushsvc.errors import ConfigError

_LONGEST_SOCKET_PATH: Final = 100  # bytes; the kernel allows 107 (unix(7)), and a server may append some


def socket_path(data_dir: Path) -> Path:
    """The embedded server's socket; in a private folder under /tmp where the data directory's path is too long."""
    path = data_dir.resolve() / "valkey.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    folder = Path(tempfile.gettempdir()) / f"pushsvc-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise ConfigError(f"PUSHSVC_DATA_DIR: its path is too long for a socket, and {folder} is another user's")
    return folder / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.sock"
