"""The outbox's table, as the relay reads it: in PostgreSQL (psycopg), or in SQLite."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from pushsvc.client import ClientError

_BUSY_SECONDS: Final = 30.0  # that SQLite waits for somebody else's write
_CREATE: Final = "CREATE TABLE IF NOT EXISTS pushsvc_outbox (id {}, item TEXT NOT NULL, error TEXT)"
_LOCK: Final = 7_307_500_119  # of PostgreSQL: held by the relay that works


class Away(Exception):
    """The database does not answer, or lacks the table; the message says so."""


class Row(NamedTuple):
    """An event that was committed. `item`: what to publish, in JSON, with its key."""

    id: int
    item: str


class Store(ABC):
    """The table, over one connection that is made when it is needed. All methods raise Away."""

    errors: tuple[type[Exception], ...] = ()
    create: str
    mark = "?"

    def __init__(self) -> None:
        self._connection: Any = None

    @abstractmethod
    def _connect(self) -> Any: ...

    def prepare(self) -> None:
        """Make the table, if there is none."""
        self._run(lambda connection: connection.execute(self.create))

    def pending(self, most: int) -> Sequence[Row]:
        """The oldest rows that were not refused."""
        select = "SELECT id, item FROM pushsvc_outbox WHERE error IS NULL ORDER BY id LIMIT ?".replace("?", self.mark)
        found: Sequence[Row] = self._run(lambda each: [Row(*row) for row in each.execute(select, (most,))])
        return found

    def settle(self, published: Iterable[int], refused: Iterable[tuple[str, int]]) -> None:
        """Delete what was published, and keep what was refused for good, with the reason."""
        delete = "DELETE FROM pushsvc_outbox WHERE id = ?".replace("?", self.mark)
        update = "UPDATE pushsvc_outbox SET error = ? WHERE id = ?".replace("?", self.mark)

        def work(connection: Any) -> None:
            cursor = connection.cursor()
            cursor.executemany(delete, [(each,) for each in published])
            cursor.executemany(update, list(refused))

        self._run(work)

    def leads(self) -> bool:
        """Whether this relay is to work. Others may at the same time: that costs, and does no harm."""
        return True

    def close(self) -> None:
        """End the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*self.errors):
                connection.close()

    def _run(self, work: Any) -> Any:
        """Do some work in a transaction."""
        try:
            if self._connection is None:
                self._connection = self._connect()
            found = work(self._connection)
            self._connection.commit()
        except self.errors as error:
            self.close()
            raise Away(str(error).strip().partition("\n")[0] or type(error).__name__) from error
        return found


class Sqlite(Store):
    """A file."""

    errors = (sqlite3.Error,)
    create = _CREATE.format("INTEGER PRIMARY KEY AUTOINCREMENT")

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=_BUSY_SECONDS, check_same_thread=False)


class Postgres(Store):
    """A server."""

    create = _CREATE.format("BIGSERIAL PRIMARY KEY")
    mark = "%s"

    def __init__(self, url: str) -> None:
        super().__init__()
        try:
            import psycopg
        except ModuleNotFoundError as error:
            raise ClientError("the relay needs psycopg for PostgreSQL: pip install 'pushsvc[postgres]'") from error
        self._psycopg = psycopg
        self.errors = (psycopg.Error,)
        self._url = url

    def _connect(self) -> Any:
        return self._psycopg.connect(self._url, connect_timeout=10, application_name="pushsvc relay")

    def leads(self) -> bool:
        """One relay works at a time; the next goes on when its connection ends."""
        return bool(self._run(lambda each: each.execute(f"SELECT pg_try_advisory_lock({_LOCK})").fetchone()[0]))


def open_store(url: str) -> Store:
    """The store at a URL as SQLAlchemy and Django know them: `postgresql://…`, or `sqlite:///path`. Raises
    ClientError."""
    scheme, _, rest = url.partition("://")
    kind = scheme.partition("+")[0]
    if kind in ("postgresql", "postgres"):
        return Postgres(f"postgresql://{rest}")
    if kind == "sqlite":
        path = unquote(urlsplit(f"sqlite://{rest}").path)[1:]
        if path:
            return Sqlite(path)
    raise ClientError("the database is a URL: postgresql://user@host/name, sqlite:///file or sqlite:////absolute/file")
