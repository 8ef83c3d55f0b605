"""Spans: whose children they are, what they hold, and that there are none where nothing takes them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from pushsvc.attendance.receiver import Receiver
from pushsvc.errors import ConfigError
from pushsvc.telemetry import spans
from pushsvc.telemetry.current import Request, go_on
from tests.support.others.hookreceiver import HOOK_SECRET, HookReceiver

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """The exporter that takes the spans of this process."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(spans._Tracing, "tracer", provider.get_tracer("tests"))
    yield exporter
    go_on(None)


def test_a_span_is_a_child_of_where_the_request_comes_from(taken: InMemorySpanExporter) -> None:
    request = Request("r", f"00-{TRACE}-{SPAN}-01", "a=b")
    go_on(request)
    with spans.spanned("publish", "PRODUCER", {"messaging.system": "pushsvc"}) as told:
        told["messaging__message__id"] = "1-0"
    (span,) = taken.get_finished_spans()
    assert span.parent is not None
    assert (span.parent.trace_id, span.parent.span_id) == (int(TRACE, 16), int(SPAN, 16))
    assert span.attributes == {"messaging.system": "pushsvc", "messaging.message.id": "1-0"}
    assert request.trace_id == TRACE, "which log lines name"
    onward = spans.onward(spans.begin("chat", "CLIENT", {}))
    assert onward["traceparent"].startswith(f"00-{TRACE}-")
    assert SPAN not in onward["traceparent"]
    assert onward["tracestate"] == "a=b"


def test_an_error_is_told_by_its_name_alone(taken: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="data"), spans.spanned("publish", "PRODUCER", {}):
        raise ValueError("data")
    (span,) = taken.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert "data" not in span.to_json()
    assert (span.attributes or {})["error.type"] == "ValueError"
    assert span.parent is None


def test_a_hook_has_a_span_that_its_receiver_goes_on_with(taken: InMemorySpanExporter) -> None:
    there = HookReceiver()
    try:
        receiver = Receiver(f"{there.url}?key=secret-key", HOOK_SECRET, private=False)
        assert receiver.post(b"{}")
        there.answer = lambda hook: (503, {}, b"")
        assert not receiver.post(b"{}")
    finally:
        there.close()
    good, bad = taken.get_finished_spans()
    assert [head["traceparent"][36:52] for head in there.heads] == [
        f"{span.context.span_id:016x}" for span in (good, bad) if span.context
    ]
    assert (good.status.status_code, bad.status.status_code) == (StatusCode.UNSET, StatusCode.ERROR)
    assert (bad.attributes or {})["error.type"] == "503"
    assert "secret-key" not in good.to_json() + bad.to_json()


def test_there_are_none_where_nothing_takes_them() -> None:
    spans.start({})
    spans.start({"OTEL_TRACES_EXPORTER": "none"})
    assert not spans.recording()
    assert spans.begin("publish", "PRODUCER", {}) is None


def test_an_exporter_that_is_not_installed_is_named() -> None:
    with pytest.raises(ConfigError, match="opentelemetry-exporter-otlp-proto-http"):
        spans.start({"OTEL_TRACES_EXPORTER": "otlp"})
    assert not spans.recording()
