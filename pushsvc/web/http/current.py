"""Finds the Service of the current request."""

from __future__ import annotations

from flask import current_app

from pushsvc.service import EXTENSION, Service


def service() -> Service:
    """The Service of Flask's current application."""
    found = current_app.extensions[EXTENSION]
    assert isinstance(found, Service)
    return found
