"""Compiles the C parts into a folder of the benchmark's own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

from bench.programs.child import BenchError

_SOURCES: Final = Path(__file__).resolve().parent.parent / "native"
_PARTS: Final = {
    "floor": ("floor.c",),
    "load": ("load.c", "subscribers.c", "publishers.c", "lines.c", "events.c", "stream.c", "latency.c", "loop.c"),
    "model": ("model.c", "loop.c"),
    "ask": ("-DLINE=16384", "ask.c", "stream.c", "latency.c", "loop.c"),
}


def build(folder: Path) -> dict[str, Path]:
    """Compile all programs, and give their paths by name. Raises BenchError."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise BenchError("there is no C compiler (cc); on Debian: apt install gcc libc6-dev")
    return {program: _compile(compiler, parts, folder / program) for program, parts in _PARTS.items()}


def _compile(compiler: str, parts: tuple[str, ...], target: Path) -> Path:
    """Compile one program. `parts`: options of the compiler, and source files."""
    words = [compiler, "-O2", "-Wall", "-o", str(target)]
    words += [part if part.startswith("-") else str(_SOURCES / part) for part in parts]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(parts)} did not compile: {done.stderr.strip()[:600]}")
    return target
