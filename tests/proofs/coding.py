"""The savings and the cost of PUSHSVC_COMPRESS_STREAMS: `python -m tests.proofs.coding`."""

from __future__ import annotations

import time
from pathlib import Path

from pushsvc.delivery.transports.coding import CODINGS, Coder, make_coder
from pushsvc.events.encoded import EncodedBatch
from tests.unit.delivery.test_coding import token

TOKENS = 500
STREAMS = 1000


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def memory(coding: str, *, history: bool) -> float:
    """Bytes that a stream holds once it has sent some tokens."""
    held: list[Coder] = []
    for number in range(STREAMS // 5):  # what the allocator keeps ready does not count
        held.append(make_coder(coding, history=history))
        held[-1].encode(EncodedBatch(token(number)))
    before = resident()
    for number in range(STREAMS):
        held.append(make_coder(coding, history=history))
        held[-1].encode(EncodedBatch(token(number)))
    return (resident() - before) / STREAMS


def main() -> None:
    """Print a line for each coding, with and without history."""
    plain = sum(len(token(number)) for number in range(TOKENS))
    print(f"{TOKENS} tokens of {plain / TOKENS:.0f} bytes, one flush each")
    for coding in CODINGS:
        for history in (True, False):
            coder, began = make_coder(coding, history=history), time.process_time()
            coded = sum(len(coder.encode(EncodedBatch(token(number)))) for number in range(TOKENS))
            spent = (time.process_time() - began) / TOKENS * 1e6
            kind = "answers of a model" if history else "streams of events "
            less, held = 100 * (1 - coded / plain), memory(coding, history=history)
            print(f"{coding}  {kind}  {less:3.0f} % fewer bytes, {spent:4.1f} µs an event, {held:7.0f} bytes a stream")


if __name__ == "__main__":
    main()
