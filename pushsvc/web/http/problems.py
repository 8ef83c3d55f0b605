"""Answers every error with a problem document (RFC 9457) that tells nothing about the service's inside."""

from __future__ import annotations

import logging
import re
from typing import Final

import orjson
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from pushsvc.errors import PushError, TooLarge, as_openai

logger = logging.getLogger(__name__)


def install(app: Flask) -> None:
    """Make `app` answer errors as problems."""
    app.register_error_handler(PushError, _refused)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _bug)


def _refused(error: PushError) -> Response:
    return _document(error.problem(), error.status, error.headers)


def _http(error: HTTPException) -> Response:
    """Answer what Flask itself refuses: unknown paths and methods, and bodies that are too long."""
    response = error.get_response()
    status = response.status_code
    details = {
        404: _NO_SUCH_CALL if _is_openai(request.path) else "There is nothing at this path.",
        405: f"{request.method} is not allowed here.",
        413: "The body is larger than this path takes.",
    }
    detail = details.get(status, error.description or "")
    kept = {name: value for name, value in response.headers.items() if name in ("Allow", "Retry-After", "Location")}
    title = TooLarge.title if status == TooLarge.status else error.name  # the same title as nginx gives
    return _document({"type": "about:blank", "title": title, "status": status, "detail": detail}, status, kept)


def _bug(_error: Exception) -> Response:
    logger.exception("bug in %s %r", request.method, request.path)  # %r: a path may hold line breaks
    problem = PushError("The service made an error; it was logged.").problem()
    return _document(problem, 500, {})


# The paths that clients of OpenAI's API ask for if their base URL is set slightly wrong.
_OPENAI: Final = re.compile("/v1(/|$)|/openai/|.*/chat/completions/?$|/models$")
_NO_SUCH_CALL: Final = (
    "There is nothing at this path: of OpenAI's API, this service has POST /v1/chat/completions, GET /v1/models and "
    "GET /v1/models/<id>."
)


def _is_openai(path: str) -> bool:
    return _OPENAI.match(path) is not None


def _document(problem: dict[str, object], status: int, headers: dict[str, str]) -> Response:
    if _is_openai(request.path):
        response = Response(orjson.dumps(as_openai(problem, status)), status, headers, content_type="application/json")
    else:
        response = Response(orjson.dumps(problem), status, headers, content_type="application/problem+json")
    response.headers["Cache-Control"] = "no-store"
    return response
