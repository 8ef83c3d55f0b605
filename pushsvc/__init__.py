"""pushsvc: real-time push for Python teams. Backends publish, the right browsers hear it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushsvc.program.version import VERSION

if TYPE_CHECKING:
    from flask import Flask

    from pushsvc.config import Settings


__version__ = VERSION


def create_app(settings: Settings) -> Flask:
    """See `application.create_app`. The module is imported late, because gunicorn's master imports this package to find
    the worker class, and a module imported before gevent patches the standard library would stay unpatched."""
    from pushsvc import application

    return application.create_app(settings)
