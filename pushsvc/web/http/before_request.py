"""The checks before every request, whatever its path."""

from __future__ import annotations

from flask import Flask

from pushsvc.service import Service
from pushsvc.web.http.arguments import check_query
from pushsvc.web.http.credentials import revoke_shown


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
        check_query()
        revoke_shown()
