"""The places where a listener remembers up to which event it has come."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol


class Cursor(Protocol):
    """A place that holds one id. Both methods may raise any error, which ends the listening."""

    def load(self) -> str | None:
        """The id. None: none was saved."""

    def save(self, event_id: str) -> None:
        """Remember an id."""


class MemoryCursor:
    """Lasts as long as the process."""

    def __init__(self, event_id: str | None = None) -> None:
        self._id = event_id

    def load(self) -> str | None:
        """The id. None: none was saved."""
        return self._id

    def save(self, event_id: str) -> None:
        """Remember an id."""
        self._id = event_id


class FileCursor:
    """A file, replaced whole by each save, so that it is never half written."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)

    def load(self) -> str | None:
        """The id. None: none was saved. Raises OSError."""
        try:
            return self._path.read_text(encoding="utf-8").strip() or None
        except FileNotFoundError:
            return None

    def save(self, event_id: str) -> None:
        """Remember an id. Raises OSError."""
        written = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        written.write_text(f"{event_id}\n", encoding="utf-8")
        written.replace(self._path)


class RedisCursor:
    """A key in Redis. `client`: one of redis-py's, or a URL for it to make one (needs redis-py)."""

    def __init__(self, client: Any, key: str) -> None:
        if isinstance(client, str):
            import redis

            client = redis.Redis.from_url(client)
        self._client = client
        self._key = key

    def load(self) -> str | None:
        """The id. None: none was saved. Raises redis.RedisError."""
        found = self._client.get(self._key)
        return found.decode() if isinstance(found, bytes) else found

    def save(self, event_id: str) -> None:
        """Remember an id. Raises redis.RedisError."""
        self._client.set(self._key, event_id)
