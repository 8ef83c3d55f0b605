"""A small file that a process writes for the processes after it."""

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

SIZE: Final = 1024  # bytes of each file: one write in place, which SIGKILL cannot tear nor a full disk refuse
MOST_READS: Final = 100  # of a file that is being written; a write takes less time than a read
_FOLDER: Final = "acknowledged"
_SUM: Final = re.compile(rb"# ([0-9a-f]{8})\n")  # checksum of the rest; readers of content skip this line


class Journal:
    """A file of a process, which locks the file for as long as it runs. A process that finds such a file unlocked
    takes it over."""

    def __init__(self, data_dir: Path, kind: str, owner: str) -> None:
        """`kind`: the group of files that belong together; `owner`: a name unique to this process."""
        self._folder = data_dir / _FOLDER
        self._kind = f"{kind}."
        self._path = self._folder / f"{kind}.{owner}"
        self._file: int | None = None
        self._refused = False

    def write(self, content: bytes) -> None:
        """Replace the content. A folder that is not writable is logged, and raises no error."""
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
            os.close(file)  # another process took the file over before it was locked, and removed it

    @contextmanager
    def inherited(self) -> Iterator[list[bytes]]:
        """The contents of the files of processes that have ended. The files are removed when the block ends without
        an error."""
        files: dict[Path, int] = {}
        try:
            for path in self._others():
                with suppress(OSError):  # for example another user's file, or its owner runs
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
            with suppress(FileNotFoundError):  # taken over meanwhile, maybe by a process whose file was read before
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
    except OSError:  # for example another user's file
        return b""


def _whole(file: int) -> bytes:
    """The content of an open file. A read during a write may mix new and old bytes. The checksum shows that, and the
    read is repeated; b"" if that keeps failing."""
    for _ in range(MOST_READS):
        content = os.pread(file, SIZE, 0)
        said = _SUM.match(content)
        if said is None:  # written by version 0.3.0 or earlier
            return content
        if int(said[1], 16) == zlib.crc32(content[said.end() :]):
            return content[said.end() :]
    return b""


def _is_at(file: int, path: Path) -> bool:
    """Whether the path still leads to the open file."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
