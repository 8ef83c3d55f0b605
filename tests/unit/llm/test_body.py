"""The body of a response, in whatever pieces it comes."""

from __future__ import annotations

import gzip
import zlib

import pytest

from pushsvc.llm.models.body import Body, Unreadable

STREAM = b"data: one\n\n: ping\n\nevent: x\ndata: two\n\n"
DOCUMENT = b'{"a": 1}'


def read(body: Body, pieces: list[bytes]) -> list[bytes]:
    return [data for piece in pieces for data in body.feed(piece)] + body.finish()


def cuts(raw: bytes) -> list[list[bytes]]:
    return [[raw[:at], raw[at:]] for at in range(len(raw))] + [[bytes([byte]) for byte in raw]]


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json", "text/html", ""])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\r\n\n", b": a long remark {\n", b"id\n", b"retry:5\n"])
def test_a_stream(kind: str, before: bytes) -> None:
    for pieces in cuts(before + STREAM):
        body = Body({"content-type": kind}, 1000, 1000)
        assert read(body, pieces) == [b"one", b"two"]
        assert body.streams
        assert body.document is None


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json", "text/html", ""])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b" \r\n"])
def test_a_document(kind: str, before: bytes) -> None:
    for pieces in cuts(before + DOCUMENT):
        body = Body({"content-type": kind}, 1000, 1000)
        assert read(body, pieces) == []
        assert not body.streams
        assert body.document is not None
        assert body.document.strip() == DOCUMENT


def test_a_stream_by_its_type_may_begin_with_anything_and_be_empty() -> None:
    assert read(Body({"content-type": "text/event-stream"}, 1000, 1000), [b"odd: 1\n", STREAM]) == [b"one", b"two"]
    assert Body({"content-type": "text/event-stream"}, 1000, 1000).document is None
    assert Body({}, 1000, 1000).document == b""


@pytest.mark.parametrize("raw", [b"<html>", b"Hello", b"dat", b"data", b"error: x", b"data-x: y", b"event_id: 3\n"])
def test_what_is_neither(raw: bytes) -> None:
    body = Body({"content-type": "text/plain"}, 1000, 1000)
    if raw in (b"dat", b"data"):  # too early to tell; and at its end it is no JSON
        assert body.feed(raw) == []
        assert body.document == raw
        return
    for pieces in cuts(raw):
        with pytest.raises(Unreadable, match="text/plain"):
            read(Body({"content-type": "text/plain"}, 1000, 1000), pieces)


def test_a_refusal_is_a_document_whatever_it_looks_like() -> None:
    for raw in (b"<html>", STREAM, b"\xff", b""):
        body = Body({}, 1000, 1000, refusal=True)
        assert read(body, [raw]) == []
        assert body.document == raw


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(STREAM)), ("x-gzip", gzip.compress(STREAM)), ("deflate", zlib.compress(STREAM)),
        ("deflate", zlib.compress(STREAM, wbits=-15)), ("gzip", gzip.compress(STREAM[:9]) + gzip.compress(STREAM[9:])),
        ("identity", STREAM), (" , GZip", gzip.compress(STREAM)),
    ],
)  # fmt: skip
def test_packed(encoding: str, packed: bytes) -> None:
    for pieces in cuts(packed):
        body = Body({"content-encoding": encoding}, 1000, 1000)
        assert read(body, pieces) == [b"one", b"two"]
        assert body.bytes == len(STREAM)


def test_what_is_packed_has_bounds() -> None:
    body = Body({"content-encoding": "gzip"}, 1000, 1000, refusal=True)
    body.feed(gzip.compress(b"x" * 10**7) + gzip.compress(b"x" * 10**7))
    assert body.bytes == 1001
    for encoding in ("br", "zstd", "gzip, deflate"):
        with pytest.raises(Unreadable):
            Body({"content-encoding": encoding}, 1000, 1000)
    with pytest.raises(Unreadable):
        Body({"content-encoding": "gzip"}, 1000, 1000).feed(STREAM)


@pytest.mark.parametrize("raw", [STREAM, DOCUMENT])
def test_blanks_before_it_are_not_kept(raw: bytes) -> None:
    """Some servers send them until they have an answer; kept, each would cost as much as all before it."""
    body = Body({}, 10**6, 1000)
    said = read(body, [b" ", b"\n"] * 300_000 + [raw[:1], raw[1:]])
    assert said == [b"one", b"two"] if raw is STREAM else body.document == DOCUMENT
    assert body.bytes == 600_000 + len(raw)
