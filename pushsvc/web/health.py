"""GET /healthz and GET /readyz: what a process supervisor and a load balancer ask."""

from __future__ import annotations

from typing import Final

from flask import Blueprint
from flask.typing import ResponseReturnValue

from pushsvc.errors import Unavailable
from pushsvc.web.http.current import service

_NOT_KEPT: Final = {"Cache-Control": "no-store"}  # a cache with a default lifetime would go on saying "ready"

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> ResponseReturnValue:
    """GET /healthz: 200 as long as this worker answers at all."""
    return {"status": "alive"}, _NOT_KEPT


@blueprint.get("/readyz")
def readyz() -> ResponseReturnValue:
    """GET /readyz: tell whether this worker should get traffic.

    Answers 200, with the `problems` that do not keep it from serving. Refuses: 503 with the reason where it should get
    none.
    """
    why_not = service().unready()
    if why_not is not None:
        raise Unavailable(why_not, retry_after=1)
    problems = service().health.problems()
    return {"status": "ready"} | ({"problems": problems} if problems else {}), _NOT_KEPT
