"""docs/proxies.md has the configurations that are tried here, and nothing else."""

from __future__ import annotations

from proxies.support import table


def test_its_blocks_are_the_files() -> None:
    assert table.blocks() == table.configurations()
    assert table.secured_blocks() == table.secured()
