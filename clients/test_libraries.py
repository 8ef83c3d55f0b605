"""Libraries, and runtimes that are no browsers: the rows of the first table in docs/clients.md."""

from __future__ import annotations

from clients.report.cells import Play, Record, cells, check
from clients.report.rows import RUNTIMES, Row


@cells(RUNTIMES)
def test_each_event_is_heard_once(row: Row, column: str, play: Play, record_property: Record) -> None:
    check(row, column, play, record_property)
