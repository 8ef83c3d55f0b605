"""Publishing inside a transaction of SQLAlchemy: the event is a row of it, which `pushsvc relay` publishes."""

from __future__ import annotations

from typing import Any, Unpack

from sqlalchemy import BigInteger, Column, Connection, Insert, Integer, MetaData, Table, Text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

from pushsvc.client.items import Target
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


def _insert(data: Any, target: Target) -> Insert:
    return _TABLE.insert().values(item=row(data, **target))


def publish(session: Session | Connection, data: Any, **target: Unpack[Target]) -> None:
    """Publish an event if and when the session's transaction is committed. Raises ValueError, or TypeError."""
    session.execute(_insert(data, target))


async def publish_async(session: AsyncSession | AsyncConnection, data: Any, **target: Unpack[Target]) -> None:
    """The same for asyncio; see `publish`."""
    await session.execute(_insert(data, target))
