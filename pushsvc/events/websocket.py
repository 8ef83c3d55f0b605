"""The frames that go down a WebSocket (RFC 6455 section 5): events and what the service says, each a JSON text. Pure.

They are made from the bytes of server-sent events, which are what the log keeps, and which every stream begins as.
"""

from __future__ import annotations

from typing import Any, Final

import orjson
from wsproto.frame_protocol import FrameProtocol

from pushsvc.events import sse
from pushsvc.events.event import GAP

_WRITER: Final = FrameProtocol(client=False, extensions=[])  # keeps nothing between messages that are sent whole
_END: Final = b"\n\n"  # of an event; no event has it inside
_ID: Final = b"id: "

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
POLICY: Final = 1008
TOO_LARGE: Final = 1009
TRY_AGAIN: Final = 1013
NO_STATUS: Final = 1005  # stands for a close frame without a code (section 7.1.5)
PING: Final = bytes(_WRITER.ping())


def text(message: dict[str, Any]) -> bytes:
    """A frame with a whole message."""
    return bytes(_WRITER.send_data(orjson.dumps(message).decode()))


def pong(payload: bytes) -> bytes:
    """The answer to a ping (section 5.5.3)."""
    return bytes(_WRITER.pong(payload))


def close(code: int, reason: str = "") -> bytes:
    """A close frame (section 5.5.1). A reason is cut to the 123 bytes that it may have."""
    if code == NO_STATUS:
        return bytes(_WRITER.close())
    return bytes(_WRITER.close(code, reason))


def opened(cursor: str | None) -> bytes:
    """The message that names the cursor from which a client resumes that hears nothing more. None: it has to wait for
    the gap that follows."""
    return text({"type": "open", "id": cursor})


def frames(wire: bytes, channel: str = "") -> bytes:
    """The same events as frames. `wire`: server-sent events, of which the first is of this channel; all others, and all
    without a channel, are the service's own."""
    found = []
    for block in wire.split(_END):
        if block:
            found.append(_event(block, channel) if channel else _own(block))
            channel = ""
    return b"".join(found)


def _event(block: bytes, channel: str) -> bytes:
    name, data = sse.read_event(block)
    return text({"id": _id_of(block), "channel": channel, "event": name, "data": data})


def _own(block: bytes) -> bytes:
    """The service's own words: a cursor, or a gap. Of all else clients of WebSockets have another form."""
    name, data = sse.read_event(block)
    if name == GAP:
        message: dict[str, Any] = {"type": "gap"}
        if block.startswith(_ID):
            message["id"] = _id_of(block)
        return text(message | orjson.loads(data))
    return opened(_id_of(block)) if name == "cursor" else b""


def _id_of(block: bytes) -> str:
    start = block.index(_ID)  # of a line: data is behind a field's name
    return block[start + len(_ID) :].partition(b"\n")[0].decode()
