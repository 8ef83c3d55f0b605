"""Spans of OpenTelemetry, where it is installed and something takes them; nothing otherwise.

They hold names and ids, never data. A span is not made the current one of its greenlet: what that starts may go on for
others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from pushsvc.errors import ConfigError
from pushsvc.program.version import VERSION
from pushsvc.telemetry.current import current
from pushsvc.telemetry.traceparent import Parent, parent_of, passed_on

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

_EXPORTER: Final = "OTEL_TRACES_EXPORTER"
_GROUP: Final = "opentelemetry_traces_exporter"  # in which packages of exporters name what they have
_OVER_HTTP: Final = {"otlp": "otlp_proto_http"}  # gRPC's threads and gevent do not know each other


class _Tracing:
    """The tracer of this process. None: it does not trace."""

    tracer: Tracer | None = None


class Span:
    """A call to another service, or to Redis, that is being made."""

    def __init__(self, tracer: Tracer, name: str, kind: str, attributes: Mapping[str, Any]) -> None:
        """`kind`: the name of a SpanKind of OpenTelemetry."""
        from opentelemetry.trace import SpanKind

        self._span = tracer.start_span(name, _context(), SpanKind[kind], dict(attributes))
        request = current()
        if request is not None:
            request.trace_id = self._place.trace_id

    @property
    def _place(self) -> Parent:
        context = self._span.get_span_context()
        state = context.trace_state.to_header()
        return Parent(f"{context.trace_id:032x}", f"{context.span_id:016x}", int(context.trace_flags), state)

    @property
    def headers(self) -> dict[str, str]:
        """The headers by which another service goes on with the trace."""
        return self._place.headers()

    def end(self, error: str | None = None, **attributes: Any) -> None:
        """End the span. `error`: a short name of what went wrong; `attributes`: their names with `__` for dots."""
        from opentelemetry.trace import StatusCode

        self._span.set_attributes({name.replace("__", "."): value for name, value in attributes.items()})
        if error is not None:
            self._span.set_attribute("error.type", error)
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


def start(environ: Mapping[str, str]) -> None:
    """Trace from now on, if the process has a tracer provider, or OTEL_TRACES_EXPORTER asks for one. Raises ConfigError
    if the exporter that it names is not installed."""
    try:
        from opentelemetry import trace
    except ImportError:
        return
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):  # nobody has set one
        exporters = [each.strip() for each in environ.get(_EXPORTER, "").split(",") if each.strip() not in ("", "none")]
        if not exporters:
            return
        trace.set_tracer_provider(_provider(exporters))
    _Tracing.tracer = trace.get_tracer("pushsvc", VERSION)


def recording() -> bool:
    """Whether spans are made."""
    return _Tracing.tracer is not None


def begin(name: str, kind: str, attributes: Mapping[str, Any]) -> Span | None:
    """Begin a span of this greenlet's request; see Span. None: no spans are made."""
    return None if _Tracing.tracer is None else Span(_Tracing.tracer, name, kind, attributes)


@contextmanager
def spanned(name: str, kind: str, attributes: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Make a span around what is done; see Span. What is put into the dictionary is added to its attributes."""
    span, more = begin(name, kind, attributes), dict[str, Any]()
    try:
        yield more
    except BaseException as error:
        if span is not None:
            span.end(type(error).__name__, **more)
        raise
    if span is not None:
        span.end(**more)


def onward(span: Span | None) -> dict[str, str]:
    """The headers of a request to another service. Without a span they say what this greenlet's own request said."""
    return passed_on(current()) if span is None else span.headers


def _context() -> Context | None:
    """The place of a new span: in the span that another instrumentation has begun, else where the request comes
    from."""
    from opentelemetry import trace

    parent = parent_of(current())
    if trace.get_current_span().get_span_context().is_valid or parent is None:
        return None
    state = trace.TraceState.from_header([parent.state]) if parent.state else None
    flags, span_id = trace.TraceFlags(parent.flags), int(parent.span_id, 16)
    place = trace.SpanContext(int(parent.trace_id, 16), span_id, is_remote=True, trace_flags=flags, trace_state=state)
    return trace.set_span_in_context(trace.NonRecordingSpan(place))


def _provider(exporters: list[str]) -> TracerProvider:
    """Make what the environment asks for (OpenTelemetry's specification, "Environment variables")."""
    try:
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ConfigError(f"{_EXPORTER} is set, which needs the package opentelemetry-sdk") from None
    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "pushsvc"}))
    provider = TracerProvider(resource=resource)
    for name in exporters:
        provider.add_span_processor(BatchSpanProcessor(_exporter(_OVER_HTTP.get(name, name))))
    return provider


def _exporter(name: str) -> Any:
    found = list(entry_points(group=_GROUP, name=name))
    if not found:
        raise ConfigError(
            f"{_EXPORTER}: no package has an exporter {name}; otlp is in opentelemetry-exporter-otlp-proto-http"
        )
    return found[0].load()()
