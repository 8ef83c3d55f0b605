"""Data that processes keep in files is read while these are written, and while others take them over."""

from __future__ import annotations

from pathlib import Path

import pytest

from pushsvc.storage import journal as journal_file
from tests.support.inside.acknowledging import end, process
from tests.support.inside.lives import at


def test_of_a_file_that_is_half_old_nothing_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (_, known), (_, other) = process(tmp_path, "one"), process(tmp_path, "two")
    path, halves = tmp_path / "acknowledged" / "clock.one", []
    for ms in (999, 1000):
        known.note(b"1-0", at(ms))
        known.save()
        halves.append(path.read_bytes())
    assert other.of_machine() == {b"1-0": at(1000)}
    old, new = halves
    path.write_bytes(new[:20] + old[20:])
    assert other.of_machine() == {}
    reads = iter([path.read_bytes(), new])
    with monkeypatch.context() as patch:
        patch.setattr("pushsvc.storage.journal.os.pread", lambda *_: next(reads))
        assert other.of_machine() == {b"1-0": at(1000)}, "its writer was done by the second look"
    path.write_bytes(b"1-0 2000-0\n")
    assert other.of_machine() == {b"1-0": at(2000)}, "as the version before wrote it"


def test_what_an_heir_takes_over_is_seen_with_one_or_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The heir's file is read first, and the dead one's is gone when it is its turn."""
    (dead, its), (_, heir), (journal, reader) = (process(tmp_path, name) for name in ("dead", "heir", "reader"))
    for known, ms in ((its, 9), (heir, 5)):
        known.note(b"1-0", at(ms))
        known.save()
    end(dead)
    found, folder = journal._others, tmp_path / "acknowledged"
    monkeypatch.setattr(journal, "_others", lambda: [folder / "clock.heir", folder / "clock.dead"])
    whole = journal_file._whole

    def inherits(file: int) -> bytes:
        content = whole(file)
        monkeypatch.setattr(journal_file, "_whole", whole)
        monkeypatch.setattr(journal, "_others", found)
        heir.inherit()
        return content

    monkeypatch.setattr(journal_file, "_whole", inherits)
    assert reader.of_machine() == {b"1-0": at(9)}
