"""The tables are written whole, with a number for each note; and the page has all rows."""

from __future__ import annotations

from pathlib import Path

from clients.report import table
from clients.report.rows import COLUMNS, ROWS
from clients.test_answers import CLIENTS
from clients.test_answers import COLUMNS as ANSWER_COLUMNS


def test_written_whole_or_not_at_all(tmp_path: Path) -> None:
    page = tmp_path / "clients.md"
    page.write_text(table.PAGE.read_text())
    cells = {("listeners", row.name, column): "✓" for row in ROWS for column in COLUMNS}
    assert not table.write(cells, page)
    cells |= {("answers", client.name, column): "✓" for client in CLIENTS for column in ANSWER_COLUMNS}
    for row in ROWS[:2]:
        cells["listeners", row.name, "cut"] = "ends | Do this."
    assert table.write(cells, page)
    text = page.read_text()
    assert f"| {ROWS[0].name} | ✓ | ends (1) | ✓ " in text
    assert f"| {ROWS[1].name} | ✓ | ends (1) | ✓ " in text
    assert text.count("\n1. Do this.\n") == 1
    assert f"| {CLIENTS[0].name} | ✓ | ✓ |" in text
    assert table.write(cells, page)
    assert page.read_text() == text
