"""Publishing inside a transaction of SQLAlchemy: the event is a row of it, which `pushsvc relay` publishes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Insert, Integer, MetaData, Table, Text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

from pushsvc.contrib.outbox import TABLE, row


def outbox_table(metadata: MetaData) -> Table:
    """The outbox's table, for `create_all` and migrations. The same one if `metadata` has it."""
    if TABLE in metadata.tables:
        return metadata.tables[TABLE]
    return Table(
        TABLE, metadata,
        Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
        Column("item", Text, nullable=False),
        Column("error", Text),
        sqlite_autoincrement=True,
    )  # fmt: skip


_TABLE = outbox_table(MetaData())


def _insert(data: Any, target: dict[str, Any]) -> Insert:
    return _TABLE.insert().values(item=row(data, **target))


def publish(  # noqa: PLR0913
    session: Session | Connection,
    data: Any,
    *,
    user: str | None = None,
    users: Sequence[str] | None = None,
    topic: str | None = None,
    all: bool = False,
    event: str | None = None,
    key: str | None = None,
    ttl: int | None = None,
) -> None:
    """Publish an event if and when the session's transaction is committed. Raises ValueError, or TypeError."""
    target = {"user": user, "users": users, "topic": topic, "all": all, "event": event, "key": key, "ttl": ttl}
    session.execute(_insert(data, target))


async def publish_async(session: AsyncSession | AsyncConnection, data: Any, **target: Any) -> None:
    """The same for asyncio; see `publish`."""
    await session.execute(_insert(data, target))
