"""A log line for each request, where PUSHSVC_LOG_REQUESTS asks for it."""

from __future__ import annotations

import logging

from pushsvc.telemetry.logs import REQUESTS, tell


def log_request(method: str, path: str, status: int | str | None, seconds: float | None) -> None:
    """Write the line, if it is wanted. `path`: as it was sent, without the query, which may hold a ticket; `status`:
    None if there was no answer; `seconds`: from the head of the request to the end of the answer, or, of a stream that
    goes on without its greenlet, to its beginning; None: of a request that was not read."""
    if REQUESTS.isEnabledFor(logging.INFO):
        code = int(status.split(" ", 1)[0]) if isinstance(status, str) else status
        tell(REQUESTS, "request", method=method, path=path, status=code, seconds=seconds and round(seconds, 6))
