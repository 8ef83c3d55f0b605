"""GET /v1/usage: how the caller stands with the budgets of models' answers (LLM_BUDGET)."""

from __future__ import annotations

import math

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from pushsvc.calls.access.credentials import identify
from pushsvc.web.http.current import call, service

blueprint = Blueprint("usage", __name__, url_prefix="/v1")


@blueprint.get("/usage")
def usage() -> ResponseReturnValue:
    """GET /v1/usage: how much of each budget the caller has used, and when it begins anew; budgets by model are there
    if `model` names one. What answers that are being made may still use counts as used.

    Answers 200. Refuses: 401 without a good token, 503 if Redis is away.
    """
    identity = identify(call())
    partition = service().partition_of(identity.need_user())
    data = [
        {
            "budget": each.budget.words,
            "kind": each.budget.kind,
            "by": each.budget.by,
            "limit": each.budget.amount,
            "used": each.used,
            "remaining": each.left,
            "resets_in": math.ceil(each.resets),
        }
        for each in partition.budgeting.standings(identity, request.args.get("model", ""))
    ]
    return {"object": "list", "data": data}, 200, {"Cache-Control": "no-store"}
