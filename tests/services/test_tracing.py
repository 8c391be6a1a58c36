"""An event carries its trace, what it causes is in the same one, and where nobody traces nothing is touched."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from engage import bootstrap
from engage.events import codec
from engage.events.catalogue.surveys import SurveyAnswered
from engage.events.envelope import Event
from engage.events.validation import Refusal
from engage.log.sqlite import SqliteLog
from engage.services import tracing
from engage.services.callers import ANYBODY, publish_as
from engage.services.platform import Platform, utc_now
from engage.settings import Settings

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def bad_word(traceparent: str | None = None) -> bytes:
    data = SurveyAnswered(survey_id="s-1", kind="nps", score=0)
    event = codec.new_event(data, id="s-1", source="urn:shop", subject="customer-7", time=utc_now())
    return codec.encode(msgspec.structs.replace(event, traceparent=traceparent))


def on_log(platform: Platform) -> list[Event[msgspec.Raw]]:
    assert isinstance(platform.log, SqliteLog)
    partitions = range(platform.log.partitions)
    return [codec.decode(record.value) for one in partitions for record in platform.log.scan(one)]


async def test_what_an_event_causes_is_in_its_trace(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    async with bootstrap.platform(Settings(home=str(tmp_path))) as platform:
        with tracing.request("POST", PARENT):
            await publish_as(ANYBODY, [bad_word()], platform.gathering.publish)
        traced = {event.type: event.traceparent for event in on_log(platform) if event.traceparent}
    assert traced.keys() == {"Survey Answered", "follow_up.requested"}
    assert len(set(traced.values())) == 1
    assert PARENT.split("-")[1] in traced["Survey Answered"]
    assert {span.name for span in spans.get_finished_spans()} == {"POST", "engage intake", "engage decide"}


async def test_the_trace_that_a_publisher_names_is_kept(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    async with bootstrap.platform(Settings(home=str(tmp_path))) as platform:
        with tracing.request("POST", None):
            await publish_as(ANYBODY, [bad_word(PARENT)], platform.gathering.publish)
        assert {event.traceparent for event in on_log(platform)} == {None, PARENT}


async def test_a_trace_that_is_none_is_refused_with_a_pointer(tmp_path: Path) -> None:
    async with bootstrap.platform(Settings(home=str(tmp_path))) as platform:
        [refusal] = await platform.publish([bad_word("ada@example.com")])
    assert isinstance(refusal, Refusal)
    assert refusal.faults[0].pointer == "/traceparent"


def test_where_nobody_traces_no_event_is_touched() -> None:
    events = [bad_word()]
    with tracing.request("POST", PARENT) as span:
        assert span is None
        assert tracing.stamped(events) is events
    assert tracing.began() == 0


def test_a_caller_who_does_not_sample_is_followed(spans: InMemorySpanExporter) -> None:
    events = [bad_word()]
    with tracing.request("POST", f"{PARENT[:-2]}00"):
        assert tracing.stamped(events) is events
    assert not spans.get_finished_spans()


def test_what_is_no_event_is_left_to_the_edge(spans: InMemorySpanExporter) -> None:
    with tracing.request("POST", None):
        assert list(tracing.stamped([b"{", b'{"id": "\\ud800"}'])) == [b"{", b'{"id": "\\ud800"}']


async def test_who_folds_in_a_process_of_its_own_is_traced_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(home=str(tmp_path))
    async with bootstrap.platform(settings):
        pass
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    async with bootstrap.projecting(settings):
        assert tracing.traced()
    assert not tracing.traced()
