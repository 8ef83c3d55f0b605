"""The whole document: the operations, with the words of their views, and what they share."""

from __future__ import annotations

import inspect
import re
from typing import Any, Final

from flask import Flask

from pushsvc.auth import COOKIE
from pushsvc.events.publication import Limits
from pushsvc.program.version import VERSION
from pushsvc.web.answers import passing
from pushsvc.web.openapi.operations import OPERATIONS
from pushsvc.web.openapi.schemas import all_schemas

# For people, or the model's server's: they are no part of the surface for programs.
PAGES: Final = ("pages.", "reference.", passing.ENDPOINT)
_SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE},
    "ticket": {"type": "apiKey", "in": "query", "name": "ticket", "description": "One use; see POST /tickets."},
}


def document(app: Flask, limits: Limits, server: str) -> dict[str, Any]:
    """OpenAPI 3.1 of this application. `server`: the URL under which browsers find it."""
    paths: dict[str, Any] = {}
    for path, method, view in routes(app):
        words = inspect.getdoc(app.view_functions[view]) or ""
        summary, _, rest = words.partition("\n\n")
        said = {"operationId": _identifier(path, method), "summary": _one_line(summary), "description": _one_line(rest)}
        paths.setdefault(path, {})[method] = said | OPERATIONS[path, method]
    for path, item in paths.items():
        names = re.findall(r"\{(\w+)\}", path)
        if names:
            item["parameters"] = [_of_path(name) for name in names]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pushsvc",
            "version": VERSION,
            "description": "Backends publish; the right user's browser has the event, once and in order.",
        },
        "servers": [{"url": server}],
        "security": [{name: []} for name in _SECURITY],
        "paths": paths,
        "components": {"schemas": all_schemas(limits), "securitySchemes": _SECURITY},
    }


def routes(app: Flask) -> list[tuple[str, str, str]]:
    """The path, method and view of each call for programs."""
    found = set()
    for rule in app.url_map.iter_rules():
        if not rule.endpoint.startswith(PAGES):
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
            found |= {
                (path, method.lower(), rule.endpoint)
                for method in rule.methods or ()
                if method not in ("HEAD", "OPTIONS")
            }
    return sorted(found)


def _identifier(path: str, method: str) -> str:
    return "_".join([method, *re.findall(r"\w+", path)])


def _of_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _one_line(text: str) -> str:
    return " ".join(text.replace("`", "").split())
