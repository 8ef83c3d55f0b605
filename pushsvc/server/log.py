"""Gunicorn's logger, without credentials: what it writes of a request holds no ticket, no cookie and no token."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from typing import Any, Final

from gunicorn.glogging import Logger
from gunicorn.instrument.statsd import Statsd

HIDDEN: Final = "-"  # as the access log has it for what is not there
_PARAMETERS: Final = ("ticket", "demo")  # whose values open something
_HEADERS: Final = ("authorization", "proxy-authorization", "cookie", "last-event-id", "set-cookie")
_ATOMS: Final = frozenset(
    name
    for header in _HEADERS
    for name in (f"{{{header}}}i", f"{{{header}}}o", f"{{http_{header.replace('-', '_')}}}e")
)


def _spellings(name: str) -> str:
    """A pattern for all ways to write a parameter's name in a query: each letter may be percent-encoded."""
    return "".join(f"(?:{letter}|%(?i:{ord(letter):02x}))" for letter in name)


_SECRET: Final = re.compile(rf"(?<![^?&\s])({'|'.join(map(_spellings, _PARAMETERS))})=[^&\s\"'#]*")


def without_secrets(text: str) -> str:
    """A text, such as a request line, a query or an address, without the values of secret parameters."""
    return _SECRET.sub(rf"\1={HIDDEN}", text) if "=" in text else text


class _Discreet(logging.Filter):
    """Takes the secrets out of what gunicorn logs of errors, which quotes addresses and request lines."""

    def filter(self, record: logging.LogRecord) -> bool:
        with suppress(TypeError, ValueError):  # a message that does not fit its arguments: logging tells of it
            record.msg, record.args = without_secrets(record.getMessage()), None
        return True


class _WithoutSecrets:
    """What both of the loggers below add to gunicorn's."""

    error_log: logging.Logger

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)  # type: ignore[misc]
        if not any(isinstance(each, _Discreet) for each in self.error_log.filters):
            self.error_log.addFilter(_Discreet())

    def atoms(self, *arguments: Any) -> dict[str, Any]:
        """What an access log's format may name; gunicorn's hook."""
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
