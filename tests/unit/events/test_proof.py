"""The proof in the ids of a ticket's stream: where it goes, and what is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushsvc.events import sse
from pushsvc.events.encoded import EncodedBatch, EncodedEvent
from pushsvc.events.event import EventId
from pushsvc.events.proof import proof_in, proofs_in, with_proof, without_proof
from tests.support.clients.eventsource import Parser

PROOF = "Ab3_-" * 6
ids = st.builds(EventId, st.integers(1, 2**64 - 1), st.integers(0, 2**64 - 1))
texts = st.one_of(st.text(), st.sampled_from(["id: 1-0", "\nid: 1-0\n", "\r\nid: 1-0\n\nid: 2-0", "x~y", "id:"]))
names = st.sampled_from(["message", "id: 5-0", "order.paid"])
wires = st.one_of(
    st.builds(
        lambda event_id, name, data: sse.with_id(str(event_id).encode(), sse.frame(name, data)), ids, names, texts
    ),
    st.builds(lambda data: sse.data_frame(data.encode()), texts),
    st.builds(sse.cursor, ids, st.one_of(st.none(), st.integers(0, 9999))),
    st.builds(lambda event_id, at: sse.gap(event_id, event_id, "trimmed", at), ids, st.one_of(st.none(), ids)),
    st.sampled_from([sse.HEARTBEAT, sse.HEARTBEAT_EVENT, sse.retry(5), b""]),
)


@given(st.lists(wires))
def test_every_id_has_it_and_nothing_else_changes(pieces: list[bytes]) -> None:
    wire = b"".join(pieces)
    proven = with_proof(wire, PROOF)
    before, after = (list(Parser().feed(each.decode())) for each in (wire, proven))
    assert [(m.event, m.data) for m in before] == [(m.event, m.data) for m in after]
    assert [f"{m.id}~{PROOF}" if m.id else "" for m in before] == [m.id for m in after]
    assert proven.count(b"~" + PROOF.encode()) == sum(line.startswith(b"id: ") for line in wire.split(b"\n"))
    assert with_proof(wire, None) is wire


@given(st.lists(st.tuples(ids, texts), min_size=1))
def test_a_burst_has_it_for_each_stream(events: list[tuple[EventId, str]]) -> None:
    burst = EncodedBatch.of(
        [EncodedEvent(i, sse.with_id(str(i).encode(), sse.frame("message", data))) for i, data in events]
    )
    for proof in ("A" * 32, "B" * 32):
        proven = burst.proven(proof)
        assert proven.wire == with_proof(burst.wire, proof)
        assert (proven.last, proven.chunk) == (burst.last, EncodedBatch(proven.wire).chunk)
    assert burst.proven(None) is burst


@pytest.mark.parametrize(
    "text", ["", "5-0", "5-0~", "5-0~a b", "5-0~a~b", "5-0~" + "A" * 65, "5-0~ä", "5-0~a\n", "~~A"]
)
def test_what_is_no_proof(text: str) -> None:
    assert proof_in(text) is None
    assert without_proof(text) == ("5-0" if text.startswith("5") else "")


def test_what_may_be_one() -> None:
    assert proof_in("5-0~Az09_-") == proof_in("~Az09_-") == "Az09_-"
    assert proof_in("5-0~" + "A" * 64) == "A" * 64
    assert proofs_in("5-0~a~b c~d,e~f") == ["a", "f"]
