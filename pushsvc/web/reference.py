"""GET /openapi.json, and GET /docs, which shows it to people."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, jsonify, render_template
from flask.typing import ResponseReturnValue

from pushsvc.web.http.current import service
from pushsvc.web.http.links import base
from pushsvc.web.openapi.document import document
from pushsvc.web.pages import POLICY

blueprint = Blueprint("reference", __name__)


def _document() -> dict[str, Any]:
    return document(current_app, service().limits, service().settings.public_url or base() or "/")


@blueprint.get("/openapi.json")
def openapi() -> ResponseReturnValue:
    """GET /openapi.json: the description of the HTTP surface, OpenAPI 3.1."""
    response = jsonify(_document())
    response.headers["Cache-Control"] = "no-cache"
    return response


@blueprint.get("/docs")
def docs() -> ResponseReturnValue:
    """GET /docs: the same for people."""
    response = Response(render_template("docs.html", document=_document(), base=base()))
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-cache"
    return response
