"""Plants bugs, one at a time, in a copy of the project, and shows that the tests named beside each find it.

    python -m tests.proofs.mutants [part of a name...]

Exits with 1 if one lives, or if the tests fail without it.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.proofs.planted import MUTANTS
from tests.proofs.planted.mutant import Mutant
from tests.support.processes import dies_with_the_tests
from tests.support.stack import ROOT


def found(mutant: Mutant | None, tests: str) -> bool:
    """Whether the tests fail in a copy with the bug."""
    with tempfile.TemporaryDirectory(prefix="pushsvc-mutant-") as folder:
        copy = Path(folder) / "copy"
        names = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0")
        for name in filter(None, names):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
        if mutant is not None:
            _plant(mutant, copy / "pushsvc" / mutant.file)
        selected, _, options = tests.partition(" ")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--timeout", "120", "-p", "no:cacheprovider"]
        run = subprocess.run(
            [*command, f"tests/{selected}", *options.split()], cwd=copy, capture_output=True, text=True, check=False,
            preexec_fn=dies_with_the_tests(signal.SIGTERM),
        )  # fmt: skip
        if run.returncode not in (0, 1):
            raise RuntimeError(run.stdout[-2000:] + run.stderr[-2000:])
        return run.returncode == 1


def _plant(mutant: Mutant, file: Path) -> None:
    source = file.read_text()
    if source.count(mutant.old) != 1:
        raise ValueError(
            f"{mutant.name}: {mutant.file} has changed; what is to be replaced stands there no more, or twice"
        )
    file.write_text(source.replace(mutant.old, mutant.new))


def main(parts: list[str]) -> int:
    chosen = [mutant for mutant in MUTANTS if not parts or any(part in mutant.name for part in parts)]
    table = Table("bug", "without it", "with it")
    bad = 0
    for mutant in track(chosen, "Planting bugs", console=Console(stderr=True)):
        sound, caught = not found(None, mutant.tests), found(mutant, mutant.tests)
        if not (sound and caught):
            bad += 1
            Console(stderr=True).print(f"{mutant.name}: sound={sound}, caught={caught}")
        table.add_row(mutant.name, "passes" if sound else "[red]fails", "found" if caught else "[red]lives")
    Console().print(table)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
