"""The file of what a process acknowledged, as other processes see it."""

from __future__ import annotations

import os
from pathlib import Path

from pushsvc.storage.acknowledged import Acknowledged
from pushsvc.storage.journal import Journal


def process(folder: Path, name: str, kind: str = "clock") -> tuple[Journal, Acknowledged]:
    journal = Journal(folder, kind, name)
    return journal, Acknowledged(journal)


def end(journal: Journal) -> None:
    assert journal._file is not None
    os.close(journal._file)
