"""GET /v1/models: pass on the list of models as the model's server gives it."""

from __future__ import annotations

from typing import Final

import gevent.event
from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from pushsvc.calls.access.credentials import identify
from pushsvc.llm.models.base import Fault, passing
from pushsvc.llm.models.body import Body, Unreadable
from pushsvc.llm.outcome import OPERATORS, Ending, refused, timeout, upstream_error
from pushsvc.web.http.current import call, service

MOST_BYTES: Final = 4 * 2**20
WAIT_SECONDS: Final = 15.0

blueprint = Blueprint("models", __name__, url_prefix="/v1")


@blueprint.get("/models")
@blueprint.get("/models/<path:name>")
def models(name: str | None = None) -> ResponseReturnValue:
    """GET /v1/models and GET /v1/models/<name>: pass on the list of models, or the description of one, from the model's
    server (OpenAI API reference, "Models").

    Answers as the model's server does, also with its refusals. Refuses: 401 without a good token, 502 if that server
    fails, 504 if it does not answer in time.
    """
    identify(call())
    listing = _Listing()
    asked = service().model.list(name, listing)
    try:
        listing.over.wait(WAIT_SECONDS)
    finally:
        asked.close()
    return listing.response()


class _Listing:
    """Takes the response of a model's server; see ResponseHandler."""

    def __init__(self) -> None:
        self.over = gevent.event.Event()
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body: Body | None = None
        self._failure: Ending | None = timeout("The model's server did not answer in time.", "total_timeout")

    def began(self, status: int, headers: dict[str, str]) -> None:
        self._status, self._headers = status, headers
        try:
            self._body = Body(headers, MOST_BYTES, MOST_BYTES, refusal=True)
        except Unreadable as error:
            self._fail(str(error), "upstream_malformed")

    def heard(self, piece: bytes) -> None:
        if self._body is None:
            return
        try:
            self._body.feed(piece)
        except Unreadable as error:
            self._fail(str(error), "upstream_malformed")
            return
        if self._body.bytes > MOST_BYTES:
            self._fail("The model's answer is too long.", "upstream_too_long")

    def complete(self) -> None:
        if self._body is not None:
            self._failure = None
        self.over.set()

    def failed(self, fault: Fault) -> None:
        self._fail(str(fault), fault.code)

    def _fail(self, message: str, code: str) -> None:
        self._body = None
        self._failure = upstream_error(message, code)
        self.over.set()

    def response(self) -> Response:
        if self._failure is not None or self._body is None:
            failure = self._failure or upstream_error("The model sent no answer.", "upstream_malformed")
            return Response(failure.told(), 504 if failure.state == "timeout" else 502, content_type="application/json")
        document = self._body.document or b""
        if self._status in OPERATORS:
            told = refused(self._status, self._headers, document).told()
            headers = passing(self._headers) | {"x-should-retry": "false"}
            return Response(told, 502, headers, content_type="application/json")
        # An HTML page of the model's server must not be shown by a browser as a page of ours.
        kind = "application/json" if document.lstrip().startswith((b"{", b"[")) else "text/plain; charset=utf-8"
        headers = passing(self._headers) | {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        return Response(document, self._status, headers, content_type=kind)
