"""GET /ws, for any server that gives the application its socket."""

from __future__ import annotations

import http
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue
from werkzeug.wsgi import ClosingIterator

from pushsvc.calls.answers import Answer, Upgrade
from pushsvc.calls.call import Call
from pushsvc.calls.sockets.handshake import websocket
from pushsvc.delivery.transports.handover import HELD
from pushsvc.delivery.transports.hangup import hang_up
from pushsvc.web.http.current import call, respond

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

blueprint = Blueprint("websocket", __name__)

_STATUS = http.HTTPStatus.SWITCHING_PROTOCOLS


@blueprint.get("/ws", websocket=True)
@blueprint.get("/ws")  # for those that ask for no WebSocket: they are told what is missing
def get_websocket() -> ResponseReturnValue:
    """GET /ws: see `calls.sockets.handshake`."""
    current = call()
    answer = websocket(current)
    if isinstance(answer, Answer):
        return respond(answer)
    pieces = answer.pieces if HELD in request.environ else _written(current, answer)
    response = _Upgraded(pieces, _STATUS, [*answer.headers, ("Connection", "Upgrade")])
    response.headers.remove("Content-Type")
    response.call_on_close(answer.close)
    return response


class _Upgraded(Response):
    """A response whose pieces are sent, although they come after a 101."""

    def get_app_iter(self, environ: WSGIEnvironment) -> Iterable[bytes]:  # noqa: ARG002
        """The pieces; Werkzeug's hook."""
        return ClosingIterator(self.iter_encoded(), self.close)


def _written(current: Call, upgrade: Upgrade) -> Iterator[bytes]:
    """Write the whole response to the socket: gunicorn's own workers would leave out what follows a 101. The head that
    they send in the end finds no connection."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in upgrade.headers)
    try:
        current.client.sendall(
            f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n{fields}\r\n".encode("latin-1")
        )
        for piece in upgrade.pieces:
            current.client.sendall(piece)
    finally:
        hang_up(current.client)
    yield from ()
