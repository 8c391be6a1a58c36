"""What a process counts, for Prometheus to fetch: events, decisions, dead letters, waiting times, HTTP requests.

Counted is what is committed, once a batch. Counters begin at nothing with the process; how things stand at the moment
of asking (lag, what is parked, what is open) is in ``gauges``.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any, get_args

import prometheus_client
from prometheus_client.registry import Collector

from engage.events.catalogue.follow_up import FollowUpSkipped
from engage.events.envelope import Event
from engage.events.validation import Refusal, RefusalClass
from engage.log.contract import Answer, Duplicate, Taken
from engage.rules.cell import CellKey
from engage.settings import SettingsError

HOST = "127.0.0.1"
_REQUESTED = "requested"
_WAITS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800)
"""Upper bounds of waiting times in seconds, from what embedded takes to what nobody should wait for."""

_published = prometheus_client.Counter(
    "engage_published_events", "Events that were published here, by what became of them.", ["answer"]
)
_refused = prometheus_client.Counter("engage_refused_events", "Events refused here, by the class of why.", ["reason"])
_taken = prometheus_client.Counter("engage_events_taken", "Records that intake put on the log.")
_folded = prometheus_client.Counter("engage_events_folded", "Log records that the rules have folded.")
_decisions = prometheus_client.Counter("engage_decisions", "Decisions: requested, or why not.", ["outcome"])
_dead_letters = prometheus_client.Counter("engage_dead_letters", "Dead letters, by their class.", ["class"])
_parked = prometheus_client.Gauge(
    "engage_parked_accounts", "Accounts that are parked for a rule until it is mended.", ["partition", "rule"]
)
_to_decision = prometheus_client.Histogram(
    "engage_event_to_decision_seconds",
    "How long the oldest event of a batch waited from when the log learned of it until what was decided is committed.",
    buckets=_WAITS,
)
_to_view = prometheus_client.Histogram(
    "engage_event_to_view_seconds",
    "How long the oldest event of a batch waited from when the log learned of it until its rows are committed.",
    buckets=_WAITS,
)
_requests = prometheus_client.Counter(
    "engage_http_requests", "HTTP requests answered, by route template.", ["method", "route", "status"]
)
_answering = prometheus_client.Histogram(
    "engage_http_request_seconds",
    "How long an HTTP request waited until its answer began.",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
)
for _answer in ("taken", "duplicate", "refused"):  # a rate needs a nought to begin from
    _published.labels(_answer)
for _class in (*get_args(RefusalClass), "failed", "unread"):  # else the first of them would be no increase
    _dead_letters.labels(_class)


def serve(port: int) -> None:
    """Answer ``/metrics`` on this port of the loopback from here on; 0: not at all. SettingsError if it is taken."""
    if not port:
        return
    try:
        prometheus_client.start_http_server(port, addr=HOST)
    except OSError as error:
        raise SettingsError(
            f"ENGAGE_METRICS_PORT is {port}: cannot listen on {HOST}:{port} ({error.strerror}); give each process of "
            "this machine a port of its own"
        ) from error


def text(standing: Collector) -> bytes:
    """All that was counted, and how things are ``standing`` now, in Prometheus' text format."""
    registry = prometheus_client.CollectorRegistry()
    registry.register(standing)
    return prometheus_client.generate_latest() + prometheus_client.generate_latest(registry)


def published(answers: Sequence[Answer]) -> None:
    """These were the answers to a batch of events."""
    kinds = Counter(map(type, answers))
    _published.labels("taken").inc(kinds[Taken])
    if kinds[Taken] < len(answers):
        _published.labels("duplicate").inc(kinds[Duplicate])
        _published.labels("refused").inc(kinds[Refusal])
        for reason, count in Counter(answer.reason for answer in answers if isinstance(answer, Refusal)).items():
            _refused.labels(reason).inc(count)


def taken(events: int, dead: Iterable[str]) -> None:
    """Intake has committed so many log records, and dead letters of these classes."""
    _taken.inc(events)
    died(dead)


def folded(events: int, decided: Collection[Event[Any]], dead: Iterable[str], oldest: datetime | None = None) -> None:
    """The rules have folded so many records, and committed what they decided and dead letters of these classes.

    ``oldest`` is when the log learned of the first of the records.
    """
    _folded.inc(events)
    outcomes = (each.data.reason if isinstance(each.data, FollowUpSkipped) else _REQUESTED for each in decided)
    for outcome, count in Counter(outcomes).items():
        _decisions.labels(outcome).inc(count)
    if decided and oldest is not None:
        _to_decision.observe(_since(oldest))
    died(dead)


def seen(oldest: datetime) -> None:
    """Readers see a batch of the read models now, whose first record the log learned of then."""
    viewed(_since(oldest))


def viewed(seconds: float) -> None:
    """The oldest event of a batch of the read models had waited so long when readers saw it."""
    _viewed(seconds)


@contextmanager
def view_waits(tell: Callable[[float], object]) -> Iterator[None]:
    """Meanwhile ``tell`` hears what ``viewed`` would have: for a process whose figures another one shows."""
    global _viewed
    _viewed = tell
    try:
        yield
    finally:
        _viewed = _to_view.observe


_viewed: Callable[[float], object] = _to_view.observe


def answered(method: str, route: str, status: int, seconds: float) -> None:
    """An HTTP request for a route, named by its template, was answered after so long."""
    counter, histogram = _of_route(method, route, status)
    counter.inc()
    histogram.observe(seconds)


@cache
def _of_route(method: str, route: str, status: int) -> tuple[prometheus_client.Counter, prometheus_client.Histogram]:
    """Kept, because to look them up takes longer than to count."""
    return _requests.labels(method, route, str(status)), _answering.labels(method, route)


def parked(partition: int, rules: Iterable[str], keys: Iterable[CellKey]) -> None:
    """These are parked in a partition of ours, of all its ``rules``."""
    counts = Counter(rule for rule, _ in keys)
    for rule in rules:
        _parked.labels(str(partition), rule).set(counts[rule])


def given_up(partition: int) -> None:
    """The partition is no longer ours: its next owner says who is parked there."""
    _parked.remove_by_labels({"partition": str(partition)})


def _since(moment: datetime) -> float:
    return max(0.0, time.time() - moment.timestamp())


def died(classes: Iterable[str]) -> None:
    """One dead letter of each class came about."""
    for name, count in Counter(classes).items():
        _dead_letters.labels(name).inc(count)
