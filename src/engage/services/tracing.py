"""Traces from publish to decision and view, by OpenTelemetry; where none is set up, each call is one look at a name.

An event carries the trace it belongs to as CloudEvents' attribute ``traceparent`` (Distributed Tracing extension), so
that what other processes do with it hours later is a span of the same trace. A batch makes a span for each event of a
trace, with the batch's beginning and end. OpenTelemetry is imported where it is used: it takes 50 ms, and most
processes do without.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from engage.events import codec
from engage.events.catalogue.follow_up import FollowUpSkipped
from engage.events.envelope import Event

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

_MOST_SPANS = 256
"""Spans of one batch: a batch of thousands is told by the first of them."""
_TRACEPARENT = re.compile("([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_UNTRACED = nullcontext()
_tracer: Tracer | None = None


def trace_with(tracer: Tracer | None) -> None:
    """Make spans with ``tracer`` from here on; None: none any more."""
    global _tracer
    _tracer = tracer


def traced() -> bool:
    """Whether anybody traces."""
    return _tracer is not None


def began() -> int:
    """Now, in nanoseconds, for ``record``; 0 where nobody traces."""
    return time.time_ns() if _tracer is not None else 0


def request(method: str, traceparent: str | None) -> AbstractContextManager[Span | None]:
    """The span of an HTTP request, in the trace that its caller names; None where nobody traces."""
    return _UNTRACED if _tracer is None else _request(_tracer, method, traceparent)


@contextmanager
def _request(tracer: Tracer, method: str, traceparent: str | None) -> Iterator[Span]:
    from opentelemetry.trace import SpanKind

    context = None if traceparent is None else parent(traceparent)
    with tracer.start_as_current_span(method, context, kind=SpanKind.SERVER) as span:
        yield span


def answered(span: Span, method: str, route: str, status: int) -> None:
    """Name a request's span by its route, now that it is known, and say how it ended."""
    from opentelemetry.trace import Status, StatusCode

    span.update_name(f"{method} {route}")
    span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})
    if status >= 500:
        span.set_status(Status(StatusCode.ERROR))


def stamped(events: Sequence[bytes | Event[Raw]]) -> Sequence[bytes | Event[Raw]]:
    """The same events, those without a trace in that of the request which is answered now, if it is traced."""
    if _tracer is None:
        return events
    from opentelemetry import trace

    here = trace.get_current_span().get_span_context()
    if not (here.is_valid and here.trace_flags.sampled):
        return events
    traceparent = f"00-{here.trace_id:032x}-{here.span_id:016x}-{here.trace_flags:02x}"
    return [_stamped(event, traceparent) for event in events]


def record(
    name: str, start: int, events: Iterable[Event[Any]], attributes: Mapping[str, str | int] | None = None
) -> None:
    """A span for each of ``events`` that has a trace, from ``start`` until now."""
    if _tracer is None:
        return
    from opentelemetry import trace

    end = time.time_ns()
    for event in islice((event for event in events if event.traceparent), _MOST_SPANS):
        context = parent(event.traceparent or "")
        if context is None or not trace.get_current_span(context).get_span_context().trace_flags.sampled:
            continue
        span = _tracer.start_span(name, context, kind=trace.SpanKind.CONSUMER, start_time=start or end)
        span.set_attributes({"engage.event.type": event.type, "engage.account": event.subject, **(attributes or {})})
        span.end(end)


def decided(start: int, decisions: Iterable[Event[Any]]) -> None:
    """A span for each decision on an event that has a trace."""
    if _tracer is not None:
        for one in decisions:
            outcome = one.data.reason if isinstance(one.data, FollowUpSkipped) else "requested"
            record("engage decide", start, [one], {"engage.rule": one.data.rule, "engage.outcome": outcome})


def parent(traceparent: str) -> Context | None:
    """The span that ``traceparent`` (W3C Trace Context) names, as what comes next is to have for its parent."""
    from opentelemetry import trace

    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in found.groups()[1:])
    remote = trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=trace.TraceFlags(flags))
    return trace.set_span_in_context(trace.NonRecordingSpan(remote))


def _stamped(event: bytes | Event[Raw], traceparent: str) -> bytes | Event[Raw]:
    if isinstance(event, Event):
        return event if event.traceparent else msgspec.structs.replace(event, traceparent=traceparent)
    try:
        opened = codec.decode(event)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return event  # the edge says what is wrong with it
    if opened.traceparent:
        return event
    opened.traceparent = traceparent
    return codec.encode(opened)
