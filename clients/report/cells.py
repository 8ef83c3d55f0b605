"""The cells of the first table in docs/clients.md: every event heard exactly once, or what the table says instead."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clients.report.rows import COLUMNS, LINES, ROWS, WRONG, Row, Wrong
from clients.site.scene import EVENTS, Outcome

Play = Callable[[str, str], dict[str, Outcome]]
Record = Callable[[str, object], None]


def cells(group: str) -> pytest.MarkDecorator:
    """Parametrise a test with each row of this group in each column."""
    rows = [row for row in ROWS if row.group == group]
    given = [pytest.param(row, column, id=f"{row.name} - {column}") for row in rows for column in COLUMNS]
    return pytest.mark.parametrize(("row", "column"), given)


def check(row: Row, column: str, play: Play, record: Record) -> None:
    """Check what became of the client, and tell the table; see conftest.py."""
    record("cell", ["listeners", row.name, column])
    outcome = play(row.group, column)[row.name]
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    record("mark", _mark(row, column, outcome))


def _mark(row: Row, column: str, outcome: Outcome) -> str:
    """The mark in the table."""
    heard, said = outcome.heard, outcome.said
    if column == WRONG:
        assert heard == (EVENTS[:1] if row.wrong is Wrong.ANEW else ()), said
        assert outcome.closed == (row.wrong is Wrong.ENDS), said
        return f"{row.wrong.value} | {LINES}" if row.wrong is Wrong.INSISTS else row.wrong.value
    if column in row.ends:
        assert outcome.closed, said
        assert heard == EVENTS[: len(heard)], said
        assert len(heard) < len(EVENTS), "it goes on: the table need not say that it does not"
        return f"ends | {row.ends[column]}"
    assert heard == EVENTS, said
    return "✓"
