"""What `make servers` writes into docs/redis.md."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import matrix


def test_the_table_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "redis.md"
    text = "before\n<!-- servers: written by `make servers` -->\nold\n<!-- end of servers -->\nafter\n"
    page.write_text(text)
    monkeypatch.setattr(matrix, "PAGE", page)
    monkeypatch.setattr(matrix, "version", lambda product: f"{product}.1")
    table = matrix.Table()

    def tested(name: str, *, failed: bool = False) -> None:
        report: Any = SimpleNamespace(
            nodeid=f"tests/x.py::test_y[{name}-1]", failed=failed, passed=not failed, when="call"
        )
        table.pytest_runtest_logreport(report)

    cells = [matrix.cell(product, shape) for product in matrix.PRODUCTS for shape in matrix.SHAPES]
    for name in cells[:-1]:
        tested(name)
    table.pytest_sessionfinish()
    assert page.read_text() == text
    tested(cells[-1], failed=True)
    tested(cells[-1])
    table.pytest_sessionfinish()
    before, head, _, *rows, end, after = page.read_text().splitlines()[0:1] + page.read_text().splitlines()[2:]
    assert (before, head, after) == ("before", "| server | one server | behind sentinels | a cluster |", "after")
    assert rows[0] == "| Debian's Redis.1 | ✔ 1 tests | ✔ 1 tests | ✔ 1 tests |"
    assert rows[-1].endswith("| ✗ 1 of 2 tests |")
    assert end.startswith("<!-- end")
