"""The form of log lines, for people or as JSON, and what they never hold.

Each part logs with the standard library's `logging`; structlog renders the lines, also those of gunicorn and libraries.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, Literal

Format = Literal["human", "json"]

REQUESTS: Final = logging.getLogger("pushsvc.requests")  # a line for each request, stream and answer
EVENTS: Final = logging.getLogger("pushsvc.events")  # a line for each event that is published, and each delivery
HIDDEN: Final = "-"  # as an access log has it for what is not there

_PARAMETERS: Final = ("ticket", "demo")  # whose values open something
_GUNICORN: Final = "gunicorn.error"
_OF_LINES: Final = ("exception", "stack")  # what a line may have of several lines
_FIRST: Final = ("timestamp", "level", "logger", "event")


def _spellings(name: str) -> str:
    """A pattern for all ways to write a parameter's name in a query: each letter may be percent-encoded."""
    return "".join(f"(?:{letter}|%(?i:{ord(letter):02x}))" for letter in name)


_SECRET: Final = re.compile(
    rf"(?:(?<![^?&\s])|(?<=%3[Ff])|(?<=%26))({'|'.join(map(_spellings, _PARAMETERS))})=[^&\s\"'#]*"
)
# An id's proof of who may resume. It is void once it was in a URL, but a request that was refused did not come so far.
_PROOF: Final = re.compile(r"(?<=[0-9])(~|%7[Ee])[^&\s\"'#]+")
_TOKEN: Final = re.compile(r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")  # a JWT begins with {" in base64


def without_secrets(text: str) -> str:
    """A text, such as a request line, a query or an address, without the values of secret parameters and the proofs of
    ids."""
    return _PROOF.sub(rf"\1{HIDDEN}", _SECRET.sub(rf"\1={HIDDEN}", text)) if "=" in text else text


class _Formatter(logging.Formatter):
    """Renders log records. Structlog is loaded with the first one: gunicorn's master seldom writes any, and its workers
    would inherit what it has loaded before gevent patches the standard library."""

    def __init__(self, form: Format) -> None:
        super().__init__()
        self._form = form
        self._renderer: logging.Formatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        if self._renderer is None:
            self._renderer = _renderer(self._form)
        return self._renderer.format(record)


class _Handler(logging.StreamHandler[Any]):
    """Ours at the root of all loggers."""


def install(form: Format, *, requests: bool = False, events: bool = False) -> None:
    """Have all lines written in this format, to standard error where nobody has said otherwise. Handlers of an
    operator's own (gunicorn's `logconfig`) stay as they are. `requests`, `events`: whether these lines are written.
    It can be called again, with other settings."""
    REQUESTS.setLevel(logging.INFO if requests else logging.WARNING)
    EVENTS.setLevel(logging.INFO if events else logging.WARNING)
    root, formatter = logging.getLogger(), _Formatter(form)
    if not root.handlers:
        root.addHandler(_Handler())
    for handler in (*root.handlers, *logging.getLogger(_GUNICORN).handlers):
        of_gunicorn = isinstance(handler, logging.StreamHandler) and getattr(handler, "_gunicorn", False)
        if isinstance(handler, _Handler) or of_gunicorn:
            handler.setFormatter(formatter)


def _renderer(form: Format) -> logging.Formatter:
    import structlog
    from structlog.typing import Processor

    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _name,
    ]
    own: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,  # without the values of variables
        _hide if form == "json" else _hide_and_indent,
    ]
    if form == "json":
        own.append(structlog.processors.JSONRenderer())
    else:
        plain = structlog.dev.plain_traceback
        own.append(
            structlog.dev.ConsoleRenderer(
                pad_event_to=0, colors=False, sort_keys=False, pad_level=False, exception_formatter=plain
            )
        )
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=own)


def _name(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Add which process writes, and for which request."""
    from pushsvc.telemetry.current import current
    from pushsvc.telemetry.traceparent import parent_of

    named = {name: line.pop(name) for name in _FIRST if name in line} | {"pid": os.getpid()}
    request = current()
    if "request_id" in line:  # it is about another request than that which is answered here
        named["request_id"] = line["request_id"]
    elif request is not None:
        named["request_id"] = request.id
        parent = parent_of(request)
        if request.trace_id is not None or parent is not None:
            named["trace_id"] = request.trace_id or (parent.trace_id if parent else "")
    return {**named, **line}


def _hide(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Take out what opens something, and what is not printable. Only tracebacks keep their line ends."""
    return {name: _shown(name, value) for name, value in line.items()}


def _hide_and_indent(logger: Any, method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Do so for people: only the first line of what is written begins at the margin, whatever an exception says."""
    hidden = _hide(logger, method, line)
    return {**hidden, **{name: _indented(hidden[name]) for name in _OF_LINES if isinstance(hidden.get(name), str)}}


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.split("\n"))


def _shown(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    value = _TOKEN.sub(HIDDEN, without_secrets(value))
    if name in _OF_LINES:
        return "\n".join(map(_printable, value.split("\n")))
    return _printable(value)


def _printable(text: str) -> str:
    """The text with escapes for what is not printable: control characters, line ends, marks that turn the direction."""
    return text if text.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def tell(logger: logging.Logger, event: str, **members: object) -> None:
    """Write a line with these members, but for those that are None."""
    logger.info(event, extra={name: value for name, value in members.items() if value is not None})


def observed() -> bool:
    """Whether any line about requests or events is wanted, so that who goes on after a request should keep its id."""
    return REQUESTS.isEnabledFor(logging.INFO) or EVENTS.isEnabledFor(logging.INFO)
