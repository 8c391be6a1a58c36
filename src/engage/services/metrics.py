"""What a worker counts, for Prometheus to fetch: events, decisions, dead letters, and the accounts that are parked.

Counted is what is committed. Counters begin at nothing with the process; who is parked is read from the rules' state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import prometheus_client

from engage.events.catalogue.follow_up import FollowUpSkipped
from engage.events.envelope import Event
from engage.rules.cells import CellKey
from engage.settings import SettingsError

HOST = "127.0.0.1"
_REQUESTED = "requested"

_taken = prometheus_client.Counter("engage_events_taken", "Records that intake put on the log.")
_folded = prometheus_client.Counter("engage_events_folded", "Log records that the rules have folded.")
_decisions = prometheus_client.Counter("engage_decisions", "Decisions: requested, or why not.", ["outcome"])
_dead_letters = prometheus_client.Counter("engage_dead_letters", "Dead letters, by their class.", ["class"])
_parked = prometheus_client.Gauge(
    "engage_parked_accounts", "Accounts that are parked for a rule until it is mended.", ["partition", "rule"]
)


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


def taken(events: int, dead: Iterable[str]) -> None:
    """Intake has committed so many log records, and dead letters of these classes."""
    _taken.inc(events)
    _died(dead)


def folded(events: int, decided: Iterable[Event[Any]], dead: Iterable[str]) -> None:
    """The rules have folded so many records, and committed what they decided and dead letters of these classes."""
    _folded.inc(events)
    outcomes = (each.data.reason if isinstance(each.data, FollowUpSkipped) else _REQUESTED for each in decided)
    for outcome, count in Counter(outcomes).items():
        _decisions.labels(outcome).inc(count)
    _died(dead)


def parked(partition: int, rules: Iterable[str], keys: Iterable[CellKey]) -> None:
    """These are parked in a partition of ours, of all its ``rules``."""
    counts = Counter(rule for rule, _ in keys)
    for rule in rules:
        _parked.labels(str(partition), rule).set(counts[rule])


def given_up(partition: int) -> None:
    """The partition is no longer ours: its next owner says who is parked there."""
    _parked.remove_by_labels({"partition": str(partition)})


def _died(classes: Iterable[str]) -> None:
    for name, count in Counter(classes).items():
        _dead_letters.labels(name).inc(count)
