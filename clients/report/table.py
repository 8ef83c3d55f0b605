"""The tables in docs/clients.md, as a run of the tests found them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from clients.report.rows import COLUMNS, ROWS
from clients.test_answers import CLIENTS
from clients.test_answers import COLUMNS as ANSWER_COLUMNS
from tests.support.stack import ROOT

PAGE: Final = ROOT / "docs" / "clients.md"
Cells = dict[tuple[str, str, str], str]  # by table, row and column


def write(cells: Cells, page: Path = PAGE) -> bool:
    """Write the tables, and say whether that was done: they are written whole or not at all."""
    tables = {
        "listeners": ([row.name for row in ROWS], COLUMNS),
        "answers": ([client.name for client in CLIENTS], ANSWER_COLUMNS),
    }
    wanted = {(table, row, column) for table, (rows, columns) in tables.items() for row in rows for column in columns}
    if wanted - cells.keys():
        return False
    text = page.read_text()
    for table, (rows, columns) in tables.items():
        begin, end = f"<!-- {table}: written by `make clients` -->\n", f"<!-- end of {table} -->\n"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}{_table(table, rows, columns, cells)}{end}{after}"
    page.write_text(text)
    return True


def _table(table: str, rows: Iterable[str], columns: Sequence[str], cells: Cells) -> str:
    notes: list[str] = []
    lines = [f"| client | {' | '.join(columns)} |", f"|{' --- |' * (len(columns) + 1)}"]
    for row in rows:
        lines.append(f"| {row} | {' | '.join(_cell(cells[table, row, column], notes) for column in columns)} |")
    lines += ["", *(f"{number}. {note}" for number, note in enumerate(notes, 1))] if notes else []
    return "\n".join(lines) + "\n"


def _cell(mark: str, notes: list[str]) -> str:
    """The mark with the number of its note, if it has one; equal notes have the same number."""
    what, _, note = mark.partition(" | ")
    if not note:
        return what
    if note not in notes:
        notes.append(note)
    return f"{what} ({notes.index(note) + 1})"
