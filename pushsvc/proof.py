"""What a ticket's stream adds to its ids where cookies may not come back: `<id>~<proof>`.

`Last-Event-ID` is the one header that a server fills and that every engine gives back, also for a page of another site
and without cookies. So the proof that a spent ticket's stream is the client's own travels in it. It is opaque, and for
headers and bodies: one that has stood in a URL, where logs and histories keep it, counts no more. Pure.
"""

from __future__ import annotations

import re
from typing import Final

MARK: Final = "~"  # in no id
_PROOF: Final = re.compile(r"[A-Za-z0-9_\-]{1,64}")
_ID_LINE: Final = re.compile(rb"\nid: [^\n]*")  # events have each line of their data begin with its field


def proof_in(text: str) -> str | None:
    """The proof in an id that a client sent, if there is any."""
    proof = text.partition(MARK)[2]
    return proof if _PROOF.fullmatch(proof) else None


def without_proof(text: str) -> str:
    """An id that a client sent."""
    return text.partition(MARK)[0]


def proofs_in(text: str) -> list[str]:
    """All that may be a proof in what a client has made of ids."""
    return [piece for piece in text.split(MARK)[1:] if _PROOF.fullmatch(piece)]


def with_proof(wire: bytes, proof: str) -> bytes:
    """The same events, with the proof behind each id."""
    return _ID_LINE.sub(rb"\g<0>" + f"{MARK}{proof}".encode(), b"\n" + wire)[1:]
