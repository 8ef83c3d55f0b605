"""The codings of streams: each piece is whole for its reader, and tokens become small."""

from __future__ import annotations

import gzip
import json

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pushsvc.delivery.transports.coding import make_coder
from pushsvc.events.encoded import EncodedBatch


def decoded(coding: str, coded: bytes) -> bytes:
    if coding == "gzip":
        return gzip.decompress(coded)
    return zstandard.ZstdDecompressor().decompressobj(read_across_frames=True).decompress(coded)


def token(number: int) -> bytes:
    """An event with a token as OpenAI sends them."""
    value = {
        "id": "chatcmpl-9f8a7c6b5d4e3f2a1b0c", "object": "chat.completion.chunk", "created": 1795229804, "model": "m",
        "choices": [{"index": 0, "delta": {"content": f" word{number * 7919 % 1000}"}, "finish_reason": None}],
    }  # fmt: skip
    return f"id: 17952298{number:05d}-0\ndata: {json.dumps(value)}\n\n".encode()


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_three_fifths_less_of_tokens(coding: str) -> None:
    coder = make_coder(coding, history=True)
    tokens = [token(number) for number in range(300)]
    coded = b"".join(coder.encode(EncodedBatch(each)) for each in tokens) + coder.end()
    assert decoded(coding, coded) == b"".join(tokens)
    assert len(coded) < 0.4 * sum(map(len, tokens))


@pytest.mark.parametrize("history", [False, True])
@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@given(pieces=st.lists(st.binary(min_size=1, max_size=300), max_size=20))
def test_any_pieces(coding: str, history: bool, pieces: list[bytes]) -> None:
    coder = make_coder(coding, history=history)
    coded = b"".join(coder.encode(EncodedBatch(piece)) for piece in pieces) + coder.end()
    assert (decoded(coding, coded) if coded else b"") == b"".join(pieces)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_crowd_shares_what_is_compressed(coding: str) -> None:
    batch = EncodedBatch(token(1) * 10)
    first, second = make_coder(coding, history=False), make_coder(coding, history=False)
    first.encode(EncodedBatch(b"another piece before"))
    first.encode(batch)
    assert first.encode(batch) in second.encode(batch)
    block = batch.coded(coding, lambda _: pytest.fail("it was compressed before"))
    assert second.encode(batch) == block
