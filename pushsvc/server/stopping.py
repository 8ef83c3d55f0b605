"""The times of a stop, on which gunicorn, `up`, systemd/pushsvc.service and the workers must agree."""

from __future__ import annotations

import math
from typing import Final

# Load balancers ask /readyz about once a second. For this time a worker that no new one replaces still serves
# everything, but answers that it is not ready.
LAME_DUCK_SECONDS: Final = 2.0
REQUEST_SECONDS: Final = 10  # for requests that are still under way when the streams have ended
LAST_SECONDS: Final = 3  # of these, to write the ends of answers before gunicorn kills workers that still run


def graceful_timeout(drain_seconds: float) -> int:
    """Seconds from SIGTERM until gunicorn kills its workers."""
    return math.ceil(LAME_DUCK_SECONDS + drain_seconds) + REQUEST_SECONDS


def patience(drain_seconds: float) -> float:
    """Seconds that the sender of SIGTERM waits for gunicorn before it kills it."""
    return graceful_timeout(drain_seconds) + 5
