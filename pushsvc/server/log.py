"""Gunicorn's logger, without credentials: what it writes of a request holds no ticket, no cookie and no token."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from gunicorn.glogging import Logger
from gunicorn.instrument.statsd import Statsd

from pushsvc.config import Settings
from pushsvc.delivery.transports.handover import HELD
from pushsvc.errors import ConfigError
from pushsvc.server.request_lines import log_request
from pushsvc.telemetry.logs import HIDDEN, install, without_secrets

_HEADERS: Final = ("authorization", "proxy-authorization", "cookie", "last-event-id", "set-cookie")
_ATOMS: Final = frozenset(
    name
    for header in _HEADERS
    for name in (f"{{{header}}}i", f"{{{header}}}o", f"{{http_{header.replace('-', '_')}}}e")
)


class _Discreet(logging.Filter):
    """Takes the secrets out of what gunicorn logs of errors, which quotes addresses and request lines."""

    def filter(self, record: logging.LogRecord) -> bool:
        with suppress(TypeError, ValueError):  # a message that does not fit its arguments: logging tells of it
            record.msg, record.args = without_secrets(record.getMessage()), None
        return True


class _WithoutSecrets:
    """The parts that both of the loggers below add to gunicorn's."""

    error_log: logging.Logger

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)  # type: ignore[misc]
        with suppress(ConfigError):  # which stops the start elsewhere
            settings = Settings.from_env(os.environ)
            install(settings.log_format, requests=settings.log_requests, events=settings.log_events)
        if not any(isinstance(each, _Discreet) for each in self.error_log.filters):
            self.error_log.addFilter(_Discreet())

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """Log a request; gunicorn's hook. Our own worker does so itself, as not all of its requests come here."""
        super().access(resp, req, environ, request_time)  # type: ignore[misc]
        if HELD not in environ:
            path = environ.get("RAW_URI", "").partition("?")[0] or ascii(environ.get("PATH_INFO", ""))
            log_request(environ.get("REQUEST_METHOD", ""), path, resp.status, request_time.total_seconds())

    def atoms(self, *arguments: Any) -> dict[str, Any]:
        """The values that an access log's format may name; gunicorn's hook."""
        atoms: dict[str, Any] = super().atoms(*arguments)  # type: ignore[misc]
        return {name: HIDDEN if name in _ATOMS else _clean(value) for name, value in atoms.items()}


def _clean(value: Any) -> Any:
    return without_secrets(value) if isinstance(value, str) else value


class _Log(_WithoutSecrets, Logger):  # type: ignore[misc]
    pass


class _StatsdLog(_WithoutSecrets, Statsd):  # type: ignore[misc]
    pass


def logger(cfg: Any) -> Logger:
    """Make the logger; gunicorn's `logger_class`. With `statsd_host` it counts, too, as gunicorn's own would."""
    made: Logger = (_StatsdLog if cfg.statsd_host else _Log)(cfg)
    return made
