"""Frames that clients send, good and bad (RFC 6455 sections 5 to 8): the cases of the Autobahn test suite that apply to
a server without extensions, by their numbers. Where that suite's server sends a message back, ours answers a call."""

from __future__ import annotations

import json
import struct
import threading

import pytest
from wsproto.frame_protocol import Opcode

from tests.behaviour.sockets.test_events import open_ws
from tests.support.clients.websocket import WebSocket, frame, text
from tests.support.stack import Stack

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
CALL = json.dumps({"type": "ping", "ref": "κόσμε"}, ensure_ascii=False).encode()
ANSWER = {"type": "pong", "ref": "κόσμε"}
PONGED = b"pushed"


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


def pieces(payload: bytes, size: int, opcode: int = TEXT, between: bytes = b"") -> bytes:
    """A message in fragments."""
    parts = [payload[at : at + size] for at in range(0, len(payload), size)]
    frames = [
        frame(opcode if number == 0 else CONTINUATION, part, fin=number == len(parts) - 1)
        for number, part in enumerate(parts)
    ]
    return between.join(frames)


def padded(size: int) -> bytes:
    """The call, as long as is wanted: JSON may hold white space."""
    return CALL + b" " * (size - len(CALL))


GOOD = {
    "1.1.2 a short text": text(CALL),
    "1.1.3 a text of 126 bytes": text(padded(126)),
    "1.1.4 of 127 bytes": text(padded(127)),
    "1.1.5 of 128 bytes": text(padded(128)),
    "1.1.6 of 65535 bytes": text(padded(65535)),
    "1.1.7 of 65536 bytes": text(padded(65536)),
    "1.2.2 bytes": frame(BINARY, CALL),
    "1.2.7 65536 bytes": frame(BINARY, padded(65536)),
    "2.1 a ping without payload": frame(PING) + text(CALL),
    "2.4 a ping of 125 bytes": frame(PING, b"\xfe" * 125) + text(CALL),
    "2.7 a pong that nobody asked for": frame(PONG) + text(CALL),
    "2.8 with payload": frame(PONG, b"unsolicited") + text(CALL),
    "2.9 and then a ping": frame(PONG, b"unsolicited") + frame(PING, b"payload") + text(CALL),
    "2.10 ten pings": b"".join(frame(PING, b"%d" % number) for number in range(10)) + text(CALL),
    "5.3 a text in two fragments": pieces(CALL, 20),
    "5.6 with a ping between": pieces(CALL, 20, between=frame(PING, b"between")),
    "5.8 each with a ping between": pieces(CALL, 5, between=frame(PING, b"between")),
    "5.19 bytes in fragments": pieces(CALL, 9, BINARY),
    "5.20 with pings": pieces(CALL, 9, BINARY, between=frame(PING)),
    "6.1.2 empty fragments around": frame(TEXT, fin=False) + frame(CONTINUATION, CALL, fin=False) + frame(CONTINUATION),
    "6.2.3 a fragment for each byte": pieces(CALL, 1),
    "9.3 many fragments of a large message": pieces(padded(262144), 1024),
}  # fmt: skip

BAD = {
    "2.5 a ping of 126 bytes": (frame(PING, b"x" * 126), 1002),
    "3.1 a reserved bit": (frame(TEXT, CALL, rsv=1), 1002),
    "3.2 another, after a good one": (text(CALL) + frame(TEXT, CALL, rsv=2), 1002),
    "3.4 all": (frame(TEXT, CALL, rsv=7), 1002),
    "3.5 in bytes": (frame(BINARY, CALL, rsv=4), 1002),
    "3.6 in a ping": (frame(PING, b"x", rsv=6), 1002),
    "3.7 in a close": (frame(CLOSE, b"", rsv=1), 1002),
    "4.1.1 opcode 3": (frame(3), 1002),
    "4.1.2 opcode 4 with payload": (frame(4, b"x"), 1002),
    "4.1.5 opcode 7": (frame(7), 1002),
    "4.2.1 opcode 11": (frame(11), 1002),
    "4.2.5 opcode 15": (frame(15), 1002),
    "5.1 a ping in fragments": (frame(PING, b"a", fin=False) + frame(CONTINUATION, b"b"), 1002),
    "5.2 a pong in fragments": (frame(PONG, b"a", fin=False) + frame(CONTINUATION, b"b"), 1002),
    "5.9 a continuation of nothing": (frame(CONTINUATION, CALL) + text(CALL), 1002),
    "5.10 not the last": (frame(CONTINUATION, CALL, fin=False), 1002),
    "5.15 after a whole message": (pieces(CALL, 20) + frame(CONTINUATION, b"x", fin=False) + text(CALL), 1002),
    "5.18 a text within a text": (frame(TEXT, CALL, fin=False) + text(CALL), 1002),
    "6.3.1 what is not UTF-8": (text(b"\xce\xba\xed\xa0\x80edited"), 1007),
    "6.3.2 byte by byte": (pieces(b"\xce\xba\xed\xa0\x80edited", 1), 1007),
    "6.4.1 at once, in a fragment": (frame(TEXT, b"\xce\xba\xe1\xbd\xf4\x90\x80\x80", fin=False), 1007),
    "6.5 cut off": (text(b"\xce\xba\xe1\xbd"), 1007),
    "6.10 past U+10FFFF": (text(b"\xf5\x80\x80\x80"), 1007),
    "6.20 overlong": (text(b"\xc0\xaf"), 1007),
    "not masked": (frame(TEXT, CALL, masked=False), 1002),
    "a length in more bytes than it needs": (bytes([0x81, 0xFE, 0, 5]) + bytes(9), 1002),
    "a length with its first bit": (bytes([0x82, 0xFF]) + b"\xff" * 8 + bytes(4), 1002),
}  # fmt: skip

CLOSED = {
    "7.1.1 with a code": (closing(1000), 1000),
    "7.3.1 without": (frame(CLOSE), 1005),
    "7.3.2 of one byte": (frame(CLOSE, b"x"), 1002),
    "7.3.4 with a reason": (closing(1000, b"good bye"), 1000),
    "7.3.5 of 123 bytes": (closing(1000, b"x" * 123), 1000),
    "7.3.6 of 124": (closing(1000, b"x" * 124), 1002),
    "7.5.1 that is not UTF-8": (closing(1000, b"\xce\xba\xed\xa0\x80"), 1007),
    "7.7.2 going away": (closing(1001), 1001),
    "7.7.9 internal error": (closing(1011), 1011),
    "7.7.10 a library's": (closing(3000), 3000),
    "7.7.13 an application's": (closing(4999), 4999),
    "7.9.1 code 0": (closing(0), 1002),
    "7.9.2 code 999": (closing(999), 1002),
    "7.9.3 code 1004": (closing(1004), 1002),
    "7.9.4 code 1005": (closing(1005), 1002),
    "7.9.5 code 1006": (closing(1006), 1002),
    "7.9.7 code 1016": (closing(1016), 1002),
    "7.9.9 code 2000": (closing(2000), 1002),
    "7.13.1 code 5000": (closing(5000), 1002),
}


@pytest.mark.parametrize("case", GOOD)
def test_a_good_frame_is_heard(stack: Stack, server: str, user: str, case: str) -> None:
    _is_heard(stack, server, user, GOOD[case])


@pytest.mark.parametrize("case", [case for case, sent in GOOD.items() if len(sent) <= 1000])  # longer ones show no more
def test_a_good_frame_is_heard_byte_by_byte(stack: Stack, server: str, user: str, case: str) -> None:
    _is_heard(stack, server, user, GOOD[case], 1)


def _is_heard(stack: Stack, server: str, user: str, sent: bytes, size: int = 0) -> None:
    with open_ws(stack, user, base=server) as ws:
        for at in range(0, len(sent), size or len(sent)):
            ws.socket.sendall(sent[at : at + size] if size else sent)
        ws.wait(lambda ws: ANSWER in ws.messages, "the answer")
        pongs = [bytes(each.payload) for each in ws.frames if each.opcode is Opcode.PONG]  # type: ignore[arg-type]
        assert pongs == pings_in(sent)


def pings_in(sent: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(sent):
        opcode, size = sent[at] & 15, sent[at + 1] & 127
        at += 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, at = int.from_bytes(sent[at : at + width]), at + width
        mask, payload = sent[at : at + 4], sent[at + 4 : at + 4 + size]
        at += 4 + size
        if opcode == PING:
            found.append(bytes(byte ^ mask[number % 4] for number, byte in enumerate(payload)))
    return found


@pytest.mark.parametrize("case", BAD)
def test_a_bad_frame_ends_it(stack: Stack, server: str, user: str, case: str) -> None:
    sent, code = BAD[case]
    with open_ws(stack, user, base=server) as ws:
        ws.socket.sendall(sent)
        ws.wait_closed(code)


@pytest.mark.parametrize("case", CLOSED)
def test_a_close_is_answered_by_its_code(stack: Stack, server: str, user: str, case: str) -> None:
    sent, code = CLOSED[case]
    with open_ws(stack, user, base=server) as ws:
        ws.socket.sendall(sent + text(CALL) + frame(PING))
        ws.wait_closed(code)
        assert ANSWER not in ws.messages
        assert not [each for each in ws.frames if each.opcode is Opcode.PONG]


def test_too_large_a_message_is_refused_though_its_sender_goes_on(stack: Stack, base: str, user: str) -> None:
    with open_ws(stack, user, base=base) as ws:
        threading.Thread(target=_send_all, args=(ws, frame(BINARY, b" " * 3_000_000)), daemon=True).start()
        assert "bytes" in ws.wait_closed(1009)


def test_too_large_a_message_in_small_fragments(stack: Stack, server: str, user: str) -> None:
    with open_ws(stack, user, base=server) as ws:
        many = frame(TEXT, b" " * 1000, fin=False) + frame(CONTINUATION, b" " * 1000, fin=False) * 3000
        threading.Thread(target=_send_all, args=(ws, many), daemon=True).start()
        ws.wait_closed(1009)


def _send_all(ws: WebSocket, sent: bytes) -> None:
    try:
        ws.socket.sendall(sent)
    except OSError:
        pass


def test_events_come_between_fragments(stack: Stack, base: str, user: str) -> None:
    with open_ws(stack, user, base=base) as ws:
        ws.socket.sendall(frame(TEXT, CALL[:10], fin=False))
        ws.wait_ids(stack.publish(user=user, data="x"))
        ws.socket.sendall(frame(CONTINUATION, CALL[10:]))
        ws.wait(lambda ws: ANSWER in ws.messages, "the answer")
