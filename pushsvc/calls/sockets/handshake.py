"""GET /ws: the handshake of a WebSocket (RFC 6455 section 4.2). Then events go down as JSON, and calls come up."""

from __future__ import annotations

import re
import ssl
from typing import Final

from wsproto.utilities import generate_accept_token

from pushsvc.calls.access.credentials import admit, same_site
from pushsvc.calls.answers import Answer, Headers, Upgrade
from pushsvc.calls.arguments import stream_heartbeat
from pushsvc.calls.call import Call
from pushsvc.calls.events import prepare
from pushsvc.calls.refusing import keep_ticket
from pushsvc.calls.sockets.conversation import Conversation
from pushsvc.calls.sockets.dialogue import Dialogue
from pushsvc.calls.streams import Connection, begin, pieces
from pushsvc.delivery.endings import WEBSOCKET, close_frame
from pushsvc.delivery.transports.hangup import hang_up
from pushsvc.errors import Invalid, Later, NoWebSockets, UpgradeRequired
from pushsvc.events import websocket as frames
from pushsvc.events.encoded import EncodedBatch
from pushsvc.storage.tickets.admission import LostRace

_KEY: Final = re.compile(r"[A-Za-z0-9+/]{22}==")  # 16 bytes in base64
_HEARTBEAT: Final = EncodedBatch.unchunked(frames.PING)
_OTHER_BYTES: Final = 1024  # of a message beside its event


def websocket(call: Call) -> Answer | Upgrade:
    """GET /ws: open a WebSocket, with the credentials and parameters of GET /events.

    Answers 101. Refuses: 400 for a parameter or a handshake that is wrong, 401 without a good token or ticket, 403 for
    a page of another site, or a channel that the token may not listen to, 426 if the request opens no WebSocket, 501
    where the server gives no socket to the application. What is temporary a browser would not learn from a status: it
    is told by 101, and then the close code 1013.
    """
    headers = _accepted(call)
    same_site(call)  # whatever the credential: browsers let the pages of all sites open WebSockets
    if call.closes is not None:
        call.closes()
    try:
        call.service.capacity.check()
        try:
            return _open(call, headers)
        except LostRace:  # another request used the same ticket at the same time: the last one gets the stream
            return _open(call, headers)
    except Later as error:
        keep_ticket(call)
        return _refused(call, headers, error)


def _accepted(call: Call) -> Headers:
    """Check the handshake, and give the headers of its answer. Raises UpgradeRequired, Invalid or NoWebSockets."""
    if not (
        call.method == "GET"
        and call.protocol == "HTTP/1.1"
        and "websocket" in _words(call, "upgrade")
        and "upgrade" in _words(call, "connection")
    ):
        raise UpgradeRequired("This path is for WebSockets: the request must ask to upgrade to websocket, by HTTP/1.1.")
    if call.header("sec-websocket-version") != "13":
        raise UpgradeRequired("Sec-WebSocket-Version: must be 13.")
    key = call.header("sec-websocket-key") or ""
    if _KEY.fullmatch(key) is None:
        raise Invalid.field("Sec-WebSocket-Key", "must be 16 bytes in base64.")
    if call.content_length or call.header("transfer-encoding") is not None:
        raise Invalid("The handshake of a WebSocket has no body.")
    if call.client is None or isinstance(call.client, ssl.SSLSocket):
        raise NoWebSockets("This server gives no sockets to the application: use pushsvc's worker, and TLS in a proxy.")
    return [
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Accept", generate_accept_token(key.encode()).decode()),
    ]


def _words(call: Call, name: str) -> set[str]:
    return {word.strip().lower() for word in (call.header(name) or "").split(",")}


def _open(call: Call, headers: Headers) -> Upgrade:
    admission = admit(call, clean=True)
    stream_heartbeat(call)  # checked as for GET /events; here a heartbeat is a ping
    wanted = prepare(call, admission, heartbeat=_HEARTBEAT, kind=WEBSOCKET)
    partition, subscriber, transport = wanted.partition, wanted.subscriber, wanted.transport
    conversation = Conversation(call.service, partition, admission.identity, subscriber)
    most = call.service.limits.item_bytes + _OTHER_BYTES
    transport.listener = dialogue = Dialogue(partition.hub.lifetimes, subscriber, conversation.take, most)
    with (
        partition.connects.counting(subscriber.user) as counted,
        Connection(call, partition.hub, subscriber, dialogue=dialogue) as connection,
    ):
        counted()
        start = wanted.start
        headers = [*headers, *begin(call, admission, subscriber, start.after)]
        connection.stand()
        opened = frames.opened(str(start.after) if start.ours else None)
        return Upgrade(headers, pieces(partition.hub, connection, transport, opened), connection.leave)


def _refused(call: Call, headers: Headers, error: Later) -> Upgrade:
    client = call.client
    return Upgrade(headers, iter([close_frame(error, 0)]), lambda: hang_up(client))
