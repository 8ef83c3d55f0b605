"""The call that Flask is answering, and responses of Flask's."""

from __future__ import annotations

from typing import Final

from flask import Response, current_app, request

from pushsvc.calls.answers import Answer, Stream
from pushsvc.calls.call import Call
from pushsvc.service import EXTENSION, Service

_CALL: Final = "pushsvc.call"  # the key of the Call in the WSGI environment


def service() -> Service:
    """The Service of Flask's current application."""
    found = current_app.extensions[EXTENSION]
    assert isinstance(found, Service)
    return found


def call() -> Call:
    """The current request."""
    found: Call | None = request.environ.get(_CALL)
    if found is None:
        found = request.environ[_CALL] = Call.of_environ(service(), request.environ)
    return found


def respond(answer: Answer | Stream) -> Response:
    """Make a response of Flask's."""
    if isinstance(answer, Stream):
        try:
            response = Response(answer.pieces, answer.status, answer.headers)
            response.call_on_close(answer.close)
        except BaseException:
            answer.close()
            raise
        return response
    response = Response(answer.body, answer.status, answer.headers)
    if not any(name == "Content-Type" for name, _ in answer.headers):
        response.headers.remove("Content-Type")  # Flask's default
    return response
