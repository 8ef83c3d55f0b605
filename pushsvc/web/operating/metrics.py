"""GET /metrics, for Prometheus."""

from __future__ import annotations

from flask import Blueprint, Response, request

from pushsvc import metrics
from pushsvc.calls.access.credentials import identify
from pushsvc.web.http.current import call

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
def scrape() -> Response:
    """GET /metrics: the metrics of all workers of this gunicorn, as Prometheus reads them.

    Answers 200. Refuses: 401 without a good token, 403 if it is not an admin's.
    """
    identify(call()).need_admin()
    text, media_type = metrics.exposition(request.headers.get("Accept", ""))
    return Response(text, content_type=media_type, headers={"Cache-Control": "no-store"})
