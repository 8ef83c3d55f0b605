"""Finds the service that a request is for."""

from __future__ import annotations

from flask import current_app

from pushsvc.service import EXTENSION, Service


def service() -> Service:
    """The Service of the Flask application at hand."""
    found = current_app.extensions[EXTENSION]
    assert isinstance(found, Service)
    return found
