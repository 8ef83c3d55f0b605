"""The checks before every request, whatever its path."""

from __future__ import annotations

from flask import Flask

from pushsvc.calls.access.credentials import revoke_shown
from pushsvc.calls.arguments import check_query
from pushsvc.service import Service
from pushsvc.web.http.current import call


def install(app: Flask, service: Service) -> None:
    """Make `app` check the query of every request. The first request also starts `service`: PushWorker has done so
    before, but gunicorn's other workers do not know the service."""
    started = False

    @app.before_request
    def prepare() -> None:
        nonlocal started
        if not started:
            service.start()
            started = True
        check_query(call().query)
        revoke_shown(call())
