"""The work before and after every request, whatever its path."""

from __future__ import annotations

from flask import Flask, Response

from pushsvc.calls.access.credentials import revoke_shown
from pushsvc.calls.arguments import check_query
from pushsvc.service import Service
from pushsvc.telemetry.current import HEADER, begin, current
from pushsvc.web.http.current import call


def install(app: Flask, service: Service) -> None:
    """Make `app` name every request, and check its query. The first request also starts `service`: PushWorker has done
    so before, but gunicorn's other workers do not know the service."""
    started = False

    @app.before_request
    def prepare() -> None:
        nonlocal started
        begin(call().header)
        if not started:
            service.start()
            started = True
        check_query(call().query)
        revoke_shown(call())

    @app.after_request
    def name(response: Response) -> Response:
        request = current()
        if request is not None:  # an answer of a model's server may have one of its own
            response.headers.setdefault(HEADER, request.id)
        return response
