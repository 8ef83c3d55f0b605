"""Commands, and the scripts of `lua/`, which are atomic."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any, ClassVar

Command = tuple[Any, ...]


class Script:
    """One file of `lua/`, whose header names KEYS, ARGV and the answer."""

    all: ClassVar[list[Script]] = []

    def __init__(self, name: str, *, after: str | Sequence[str] = ()) -> None:
        """`after`: the files whose functions it uses."""
        self.name = name
        flags, own = _split(_lua(name))
        before = [after] if isinstance(after, str) else after
        self.source = b"".join([flags, *map(_lua, before), own])
        self.all.append(self)
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest()  # EVALSHA names scripts by SHA-1

    def call(self, keys: Sequence[str], *args: Any) -> Command:
        """The command that runs the script."""
        return ("EVALSHA", self.sha, len(keys), *keys, *args)


def _lua(name: str) -> bytes:
    return resources.files("pushsvc.storage.redis").joinpath("lua", f"{name}.lua").read_bytes()


def _split(source: bytes) -> tuple[bytes, bytes]:
    """A script's flags, which Redis reads from the first line alone, and the rest."""
    flags, end, rest = source.partition(b"\n")
    return (flags + end, rest) if flags.startswith(b"#!") else (b"", source)
