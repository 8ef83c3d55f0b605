"""The form of a line, and what it never holds, whoever writes it."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from pushsvc.telemetry import logs
from pushsvc.telemetry.current import Request, go_on

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"


class Process:
    """The root of the loggers, as in a process in which nothing was configured."""

    def __init__(self, *handlers: logging.Handler) -> None:
        self.root, self.handlers = logging.getLogger(), list(handlers)

    def __enter__(self) -> logging.Logger:
        self._kept, self.root.handlers = self.root.handlers, self.handlers  # pytest has put some there
        return self.root

    def __exit__(self, *_: object) -> None:
        self.root.handlers = self._kept
        go_on(None)


def rendered(root: logging.Logger, form: logs.Format, message: str, **extra: object) -> str:
    logs.install(form)
    try:
        raise ValueError(f"at /events?ticket=secret-{message}")
    except ValueError:
        record = logging.LogRecord("a.part", logging.ERROR, __file__, 1, message, None, sys.exc_info())
    record.__dict__.update(extra)
    return root.handlers[0].format(record)


@pytest.mark.parametrize("form", ["human", "json"])
def test_no_line_holds_what_opens_something(form: logs.Format) -> None:
    with Process() as root:
        line = rendered(
            root,
            form,
            f"GET /events?ticket=one&a=b by {JWT}",
            path="/?%74icket=two",
            wrong="/x%3Fticket=three",
            user="ada\nb\x1b[0m",
        )
    for secret in ("secret", "one&", "two", "three", JWT, "c2lnbmF0dXJl", "\x1b", "ada\nb"):
        assert secret not in line
    for kept in ("GET /events?ticket=-&a=b", "ValueError", "a.part", "error"):
        assert kept in line


def test_a_line_in_json_has_what_is_known() -> None:
    with Process() as root:
        go_on(Request("r-1", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
        line = json.loads(rendered(root, "json", "broken", channels=["all"]))
    assert list(line)[:5] == ["timestamp", "level", "logger", "event", "pid"]
    assert line["request_id"] == "r-1"
    assert line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert line["channels"] == ["all"]
    assert line["exception"].endswith("ticket=-")


def test_an_operators_own_handlers_stay_as_they_are() -> None:
    own = logging.StreamHandler()
    with Process(own) as root:
        logs.install("json")
        assert root.handlers == [own]
        assert own.formatter is None


def test_the_format_can_change_as_with_a_reload() -> None:
    with Process() as root:
        assert rendered(root, "json", "one").startswith("{")
        assert not rendered(root, "human", "two").startswith("{")
        assert len(root.handlers) == 1


def test_no_input_begins_a_line() -> None:
    with Process() as root:
        line = rendered(root, "human", "one\nTwo\r\x1b[1m\u202e", user="ada\u2028x")
        for forged in line.splitlines()[1:]:
            assert forged.startswith("  ")
        assert "one\\nTwo\\r\\x1b[1m\\u202e" in line
        assert len(rendered(root, "json", "one\nTwo", user="ada\nx").splitlines()) == 1
