"""The data's password in a file, where it changes while the service runs (PUSHSVC_REDIS_PASSWORD_FILE)."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

NAME: Final = "PUSHSVC_REDIS_PASSWORD_FILE"
_MOST_BYTES: Final = 65536  # cloud tokens have a few thousand


def read(path: Path) -> bytes:
    """The password in the file, without the last line end. Raises ValueError, whose text names the setting."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for its writer
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError(f"{NAME}: {path} is no regular file")
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{NAME}: cannot read {path}: {error.strerror}") from None
    password = content.removesuffix(b"\n").removesuffix(b"\r")
    if not password:
        raise ValueError(f"{NAME}: {path} is empty")
    if len(content) > _MOST_BYTES:
        raise ValueError(f"{NAME}: {path} is longer than {_MOST_BYTES} bytes")
    if b"\n" in password or b"\r" in password or b"\0" in password:
        raise ValueError(f"{NAME}: {path} should hold the password in one line, and nothing else")
    return password
