"""Lines are found however their bytes are cut, and one that is too long costs no memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pushsvc.events.lines import Lines

MOST = 8


@given(st.lists(st.text(alphabet="ab \r\n", max_size=12)).map(lambda parts: "".join(parts).encode()), st.data())
def test_any_cut_gives_the_same_lines(text: bytes, data: st.DataObject) -> None:
    wanted = [
        None if len(line) > MOST else line.strip() for line in text.split(b"\n") if len(line) > MOST or line.strip()
    ]
    lines, found, place = Lines(MOST), list[bytes | None](), 0
    while place < len(text):
        size = data.draw(st.integers(1, 5))
        found += lines.feed(text[place : place + size])
        place += size
    assert found + lines.finish() == wanted


def test_of_a_line_that_is_too_long_nothing_is_kept() -> None:
    lines = Lines(MOST)
    assert lines.feed(b"x" * 9) == [None], "it is said at once"
    assert lines.feed(b"x" * 10**6) == []
    assert len(lines._rest) == 0
    assert lines.feed(b"\nshort\n") == [b"short"]
