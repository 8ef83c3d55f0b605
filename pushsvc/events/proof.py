"""Proofs in the ids of a ticket's stream, for clients whose cookies may not come back: `<id>~<proof>`.

`Last-Event-ID` is the only header whose value a server sets and every browser sends back, even for a page of another
site and without cookies. So it carries the proof that a spent ticket's stream belongs to this client. Clients send the
proof in headers and bodies only: one that was in a URL, where logs and histories keep it, becomes invalid. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

MARK: Final = "~"  # no id holds it
_MOST_MARKS: Final = 200
_PROOF: Final = re.compile(r"[A-Za-z0-9_\-]{1,64}")
# The start of an id line. No line of the data matches, as each begins with its field's name.
_BEFORE_ID: Final = b"\nid: "


def proof_in(text: str) -> str | None:
    """The proof in an id that a client sent; None if it has none."""
    proof = text.partition(MARK)[2]
    return proof if _PROOF.fullmatch(proof) else None


def without_proof(text: str) -> str:
    """An id that a client sent, without its proof."""
    return text.partition(MARK)[0]


def proofs_in(text: str) -> list[str]:
    """All possible proofs in a text that a client built from ids; of a text with very many, the first."""
    return [piece for piece in text.split(MARK, _MOST_MARKS)[1:] if _PROOF.fullmatch(piece)]


def around_proofs(wire: bytes) -> list[bytes]:
    """Split events at the places where a proof goes: each piece but the last ends behind an id."""
    first, *others = (b"\n" + wire).split(_BEFORE_ID)
    pieces, begun = [], first
    for each in others:
        event_id, _, rest = each.partition(b"\n")
        pieces.append(begun + _BEFORE_ID + event_id)
        begun = b"\n" + rest
    pieces.append(begun)
    return [pieces[0][1:], *pieces[1:]]


def joined(pieces: Sequence[bytes], proof: str) -> bytes:
    """Join the pieces of `around_proofs`, with the proof behind each id."""
    return f"{MARK}{proof}".encode().join(pieces)


def with_proof(wire: bytes, proof: str | None) -> bytes:
    """The events with the proof behind each id. None: there is no proof."""
    return wire if proof is None else joined(around_proofs(wire), proof)
