"""GET /healthz for process supervisors, and GET /readyz for load balancers."""

from __future__ import annotations

from typing import Final

from flask import Blueprint
from flask.typing import ResponseReturnValue

from pushsvc.errors import Unavailable
from pushsvc.llm.dialects.responses.native import WithResponses
from pushsvc.web.http.current import service

_NOT_KEPT: Final = {"Cache-Control": "no-store"}  # a cache with a default lifetime would repeat an old "ready"

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> ResponseReturnValue:
    """GET /healthz: answers 200 as long as this worker answers at all."""
    return {"status": "alive"}, _NOT_KEPT


@blueprint.get("/readyz")
def readyz() -> ResponseReturnValue:
    """GET /readyz: tell whether this worker should get traffic.

    Answers 200, with `problems` if there are some that do not keep the worker from serving. Refuses: 503 with the
    reason if it should get no traffic.
    """
    why_not = service().unready()
    if why_not is not None:
        raise Unavailable(why_not, retry_after=1)
    model = service().model
    problems = [*service().health.problems(), *(model.problems() if isinstance(model, WithResponses) else ())]
    return {"status": "ready"} | ({"problems": problems} if problems else {}), _NOT_KEPT
