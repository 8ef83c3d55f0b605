"""The short way from a request on the wire to its answer, without a WSGI environment and Flask."""

from __future__ import annotations

import os
from typing import Any

from pushsvc.calls import door
from pushsvc.calls.answers import Answer, Stream, Upgrade
from pushsvc.calls.call import Call
from pushsvc.server.forwarding import Forwarding
from pushsvc.server.wire.connection import Connection
from pushsvc.server.wire.request import Request
from pushsvc.service import EXTENSION, Service


class Shortcut:
    """Answers ordinary requests of the calls that come most."""

    def __init__(self, service: Service, forwarding: Forwarding) -> None:
        self._service = service
        self._forwarding = forwarding

    def answer(self, connection: Connection, request: Request) -> Answer | Stream | Upgrade | None:
        """Answer a request. None: the application is to do so."""
        head = request.head
        if not head.plain or head.expects or "%" in head.path:
            return None
        header = head.fields.get
        peer = connection.address[0] if isinstance(connection.address, tuple) else ""
        return door.answer(
            Call(
                self._service,
                head.method,
                self._forwarding.own_path(head.path),
                head.query,
                head.protocol,
                header,
                request.body,
                head.length,
                self._forwarding.scheme(peer, header("x-forwarded-proto", "")) or request.scheme,
                connection.client,
                request.force_close,
                connection.held,
                connection.push_back,
            )
        )


def shortcut_to(application: Any) -> Shortcut | None:
    """Find the short way to an application. None: something stands in between that wants to see each request."""
    forwarding = application.wsgi_app
    if type(forwarding) is not Forwarding or os.environ.get("SCRIPT_NAME"):
        return None
    return Shortcut(application.extensions[EXTENSION], forwarding)
