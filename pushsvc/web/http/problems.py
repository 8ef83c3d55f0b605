"""Answers every error with a problem document (RFC 9457) that tells nothing about the service's inside."""

from __future__ import annotations

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from pushsvc.calls.answers import bug, is_openai, problem_answer, refusal
from pushsvc.config import Settings
from pushsvc.errors import PushError, TooLarge
from pushsvc.web.http.current import respond, service


def install(app: Flask) -> None:
    """Make `app` answer errors as problems."""
    app.register_error_handler(PushError, _refused)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _bug)


def _refused(error: PushError) -> Response:
    return respond(refusal(error, request.path))


def _http(error: HTTPException) -> Response:
    """Answer what Flask itself refuses: unknown paths and methods, and bodies that are too long."""
    response = error.get_response()
    status = response.status_code
    details = {
        404: _no_such_call(service().settings) if is_openai(request.path) else "There is nothing at this path.",
        405: f"{request.method} is not allowed here.",
        413: "The body is larger than this path takes.",
    }
    detail = details.get(status, error.description or "")
    kept = {name: value for name, value in response.headers.items() if name in ("Allow", "Retry-After", "Location")}
    title = TooLarge.title if status == TooLarge.status else error.name  # the same title as nginx gives
    problem: dict[str, object] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return respond(problem_answer(problem, status, kept, request.path))


def _bug(_error: Exception) -> Response:
    return respond(bug(request.method, request.path))


def _no_such_call(settings: Settings) -> str:
    passed = [f"POST /v1/{path}" for path in settings.llm_pass] if settings.asks_a_server else []
    there = ", ".join(["POST /v1/chat/completions", "GET /v1/models", "GET /v1/models/<id>", "/v1/responses", *passed])
    without = "" if settings.asks_a_server else ", once PUSHSVC_LLM_BASE_URL says where that is"
    return (
        f"There is nothing at this path. Of OpenAI's API, this service has {there}. "
        f"What PUSHSVC_LLM_PASS names goes through to the model's server{without}."
    )
