"""The text that `make servers` writes into docs/redis.md."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.redis import matrix


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
    lines = page.read_text().splitlines()
    assert lines[2] == "| server | one server | behind sentinels | a cluster |"
    assert lines[4] == "| Debian's Redis.1 | ✔ 1 tests | ✔ 1 tests | ✔ 1 tests |"
    assert lines[-3].endswith("| ✗ 1 of 2 tests |")
    assert [lines[0], lines[-1], "old" in lines] == ["before", "after", False]
