"""A few bytes that a process keeps in a file, for those that come after it."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

SIZE: Final = 1024  # of each file: one write in place, that no SIGKILL can tear and no full disk refuses
MOST_READS: Final = 100  # of a file that is written at that moment; a write takes less time than a read
_FOLDER: Final = "acknowledged"
_SUM: Final = re.compile(rb"# ([0-9a-f]{8})\n")  # of what follows it; a line that no reader takes for content


class Journal:
    """A file of a process, which holds a lock on it for as long as it runs. Whoever finds such a file without a lock
    inherits it."""

    def __init__(self, data_dir: Path, kind: str, owner: str) -> None:
        """`kind`: which files are alike; `owner`: a name that no other process has."""
        self._folder = data_dir / _FOLDER
        self._kind = f"{kind}."
        self._path = self._folder / f"{kind}.{owner}"
        self._file: int | None = None
        self._refused = False

    def write(self, content: bytes) -> None:
        """Replace the content. A folder that takes no files is logged, and is no error."""
        try:
            if self._file is None:
                self._file = self._open()
            os.pwrite(self._file, _with_sum(content), 0)
        except OSError as error:
            if not self._refused:
                logger.warning(
                    "%s cannot be written (%s): what this worker acknowledged is unknown to the next",
                    self._path, error.strerror,
                )  # fmt: skip
            self._refused = True
        else:
            self._refused = False

    def _open(self) -> int:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(file, self._path):
                return file
            os.close(file)  # an heir was quicker than the lock, and has removed it

    @contextmanager
    def inherited(self) -> Iterator[list[bytes]]:
        """The contents of the files of processes that have ended. The files are removed when the block ends without
        an error."""
        files: dict[Path, int] = {}
        try:
            for path in self._others():
                with suppress(OSError):  # of another user's, say, or its owner lives
                    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except OSError:
                        os.close(file)
                        raise
                    files[path] = file
            yield [_whole(file) for path, file in files.items() if _is_at(file, path)]
            for path, file in files.items():
                if _is_at(file, path):
                    with suppress(OSError):
                        path.unlink()
        finally:
            for file in files.values():
                os.close(file)

    def others(self) -> list[bytes]:
        """The contents of all files of other processes, whether these run or have ended."""
        for _ in range(MOST_READS):
            with suppress(FileNotFoundError):  # inherited meanwhile, maybe by one whose file was read before
                return [_content(path) for path in self._others()]
        return []

    def _others(self) -> list[Path]:
        try:
            found = list(self._folder.iterdir())
        except OSError:
            return []
        return [path for path in found if path.name.startswith(self._kind) and path != self._path]


def _with_sum(content: bytes) -> bytes:
    """The content with its checksum before it, padded to the size of every file."""
    size = SIZE - len(b"# 00000000\n")
    rest = content[:size].ljust(size, b"\n")
    return b"# %08x\n%b" % (zlib.crc32(rest), rest)


def _content(path: Path) -> bytes:
    """The content of the file at a path; b"" if it cannot be read. Raises FileNotFoundError."""
    try:
        with path.open("rb", buffering=0) as file:
            return _whole(file.fileno())
    except FileNotFoundError:
        raise
    except OSError:  # of another user's, say
        return b""


def _whole(file: int) -> bytes:
    """The content of an open file. A read beside a write finds some of the new and some of the old bytes, which the
    checksum shows; it is repeated then. Gives b"" if that goes on."""
    for _ in range(MOST_READS):
        content = os.pread(file, SIZE, 0)
        said = _SUM.match(content)
        if said is None:  # as 0.3.0 and before wrote it
            return content
        if int(said[1], 16) == zlib.crc32(content[said.end() :]):
            return content[said.end() :]
    return b""


def _is_at(file: int, path: Path) -> bool:
    """Whether the path still names the open file."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
