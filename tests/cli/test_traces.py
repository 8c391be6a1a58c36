"""A trace leads from the request that published to the decision and the view, at a collector that speaks OTLP."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from engage import bootstrap
from engage.settings import SettingsError
from tests.cli.given import PATIENCE, order, running

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(ThreadingHTTPServer):
    """Keeps the spans that it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiving)
        self.spans: list[Span] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


class Receiving(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        request = ExportTraceServiceRequest.FromString(body)
        assert isinstance(self.server, Collector)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.server.spans.extend(scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield listening
        listening.shutdown()


def attributes(span: Span) -> dict[str, str]:
    return {one.key: one.value.string_value for one in span.attributes}


def test_a_trace_leads_from_publish_to_decision_and_view(
    home: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    bad_word = order(1, type="Survey Answered", time=datetime.now(UTC).isoformat())
    bad_word["data"] = {"survey_id": "s-1", "kind": "nps", "score": 0}
    with running(home, "up", "--port", "0") as (_, url):
        headers = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
        answer = httpx.post(f"{url}/v1/events", json=[bad_word, order(2, "customer-18")], headers=headers)
        assert answer.json()["taken"] == 2
        deadline = time.monotonic() + PATIENCE
        wanted = {"engage intake": 2, "engage decide": 1, "engage project": 3, "POST /v1/events": 1}
        while any(len(collector.named(name)) < count for name, count in wanted.items()):
            assert time.monotonic() < deadline, [span.name for span in collector.spans]
            time.sleep(0.05)
    [published] = collector.named("POST /v1/events")
    assert (published.trace_id.hex(), published.parent_span_id.hex()) == (TRACE, CALLER)
    for name in ("engage intake", "engage decide", "engage project"):
        for span in collector.named(name):
            assert (span.trace_id, span.parent_span_id) == (published.trace_id, published.span_id)
            assert span.start_time_unix_nano <= span.end_time_unix_nano
    decided = attributes(collector.named("engage decide")[0])
    assert (decided["engage.rule"], decided["engage.outcome"]) == ("detractor-recovery", "requested")
    assert {attributes(span)["engage.event.type"] for span in collector.named("engage project")} >= {
        "Survey Answered",
        "follow_up.requested",
    }


def test_without_the_variables_nothing_of_it_is_loaded_and_no_event_is_changed(home: Path) -> None:
    with bootstrap.traces("http", {}), bootstrap.traces("http", {"OTEL_SERVICE_NAME": "shop"}):
        pass
    off = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}
    with bootstrap.traces("http", off):
        pass


def test_a_protocol_that_engage_does_not_speak_is_refused() -> None:
    asked = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with pytest.raises(SettingsError, match="OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'"), bootstrap.traces("http", asked):
        pass
