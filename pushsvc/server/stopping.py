"""How long a stop takes: gunicorn, `up`, systemd/pushsvc.service and the workers must agree on it."""

from __future__ import annotations

import math
from typing import Final

# Balancers look at /readyz once a second: for so long a worker that nobody takes over from serves all as ever, and
# says that it is not ready.
LAME_DUCK_SECONDS: Final = 2.0
REQUEST_SECONDS: Final = 10  # for the requests that are under way when the streams have been let go
LAST_SECONDS: Final = 3  # of these, to write the ends of answers, before gunicorn kills who has not stopped


def graceful_timeout(drain_seconds: float) -> int:
    """Seconds from SIGTERM until gunicorn kills its workers."""
    return math.ceil(LAME_DUCK_SECONDS + drain_seconds) + REQUEST_SECONDS


def patience(drain_seconds: float) -> float:
    """Seconds from SIGTERM to gunicorn until its sender takes it for hung."""
    return graceful_timeout(drain_seconds) + 5
