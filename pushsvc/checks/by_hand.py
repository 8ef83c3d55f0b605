"""Runs the checks of `up` and `serve` during the start where gunicorn was started by hand."""

from __future__ import annotations

import logging
import os
import sys
from threading import Thread

from pushsvc.checks.remarks import MARK
from pushsvc.config import Settings, redis_url
from pushsvc.errors import ConfigError

logger = logging.getLogger(__name__)


def look_once(settings: Settings) -> None:
    """Run the checks once, in a thread (gevent's, if that has patched them), so that the start does not wait for Redis.
    With the service's own worker class only the first worker runs them; with others each worker does."""
    if MARK not in os.environ and "pushsvc.server.worker" not in sys.modules:
        look_aside(settings)


def look_aside(settings: Settings) -> None:
    """Start a thread that runs the checks, and logs their findings."""
    Thread(target=_look, args=(settings,), daemon=True).start()


def _look(settings: Settings) -> None:
    from pushsvc.checks.start import check_redis  # imported here, as most workers never need it

    try:
        for warning in check_redis(redis_url(settings), settings):
            logger.warning("%s", warning)
    except ConfigError as error:
        logger.error("%s", error.detail)
