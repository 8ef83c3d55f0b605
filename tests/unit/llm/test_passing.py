"""The data that goes through to the model's server and back."""

from __future__ import annotations

from pushsvc.llm.making import sizes
from pushsvc.llm.making.passing import Passage
from pushsvc.llm.making.progress import Limits


class Reading:
    """A call that notes whether its response is being read."""

    def __init__(self) -> None:
        self.paused = self.closed = False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def release(self) -> None:
        raise AssertionError

    def close(self) -> None:
        self.closed = True


def test_the_model_waits_for_a_client_that_reads_slowly() -> None:
    ends: list[int] = []
    passage, call = Passage(Limits(1, 1, 1), lambda: ends.append(1)), Reading()
    passage.begin(call)
    passage.began(200, {})
    half = b"x" * (sizes.MOST_UNWRITTEN // 2 + 1)
    passage.heard(half)
    assert not call.paused
    passage.heard(half)
    assert call.paused
    pieces = passage.pieces()
    assert next(pieces) == half
    assert not call.paused
    passage.complete()
    assert list(pieces) == [half]
    for _ in range(2):
        passage.close()
    assert (call.closed, ends) == (True, [1])
