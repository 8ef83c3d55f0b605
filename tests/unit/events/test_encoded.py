"""A batch of events that are encoded once for all who get them."""

from __future__ import annotations

from pushsvc.events.encoded import EncodedBatch
from tests.support.inside.delivery import at, live


def test_a_burst_is_framed_as_one_chunk() -> None:
    burst = EncodedBatch.of(live(1, 2))
    assert (burst.wire, burst.chunk, burst.last) == (b"1;2;", b"4\r\n1;2;\r\n", at(2))
    assert EncodedBatch(b"").chunk == b"", "an empty chunk would end the response"
    assert burst.after(at(0)) is burst
    later = burst.after(at(1))
    assert later is not None
    assert later.wire == b"2;"
    assert burst.after(at(2)) is None
