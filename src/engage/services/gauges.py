"""How things stand at the moment Prometheus asks: lag, what is parked, open or due, and how large the stores are.

Read from the stores then, so it costs nothing in between. What processes share (read models, desk) each of them tells
alike: ask for the ``max`` over instances, never for the ``sum``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import prometheus_client
import structlog
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from engage.services.platform import Platform
from engage.services.reading import Reading
from engage.services.status import Status, read_status
from engage.store.views import ViewMissingError

_PATIENCE_SECONDS = 10.0
_READ_SECONDS = 5.0
"""Prometheus gives up after ten: where a store hangs, it is to hear that before."""
_log = structlog.get_logger(__name__)


class Standing(Collector):
    """What was read at one moment, as Prometheus' client takes it."""

    def __init__(self, found: Iterable[Metric]) -> None:
        self._found = list(found)

    def collect(self) -> Iterable[Metric]:
        """What was read."""
        return self._found


async def standing(platform: Platform, home: Path) -> Standing:
    """How ``platform`` stands now, with its files in ``home``; where its stores cannot be read, that alone."""
    try:
        async with asyncio.timeout(_READ_SECONDS):
            found = await _found(platform, home)
    except Exception as error:  # what was counted is told all the same
        _log.warning("the log or the read models cannot be read for /metrics", error=f"{type(error).__name__}: {error}")
        found = []
    readable = _one("engage_stores_readable", "Whether the log and the read models could be read.", bool(found))
    return Standing([readable, *found])


async def _found(platform: Platform, home: Path) -> list[Metric]:
    if platform.embedded is not None:
        platform.embedded.count_parked()
    next_wake = platform.embedded.next_due() if platform.embedded else None
    status = await read_status(
        platform.log,
        platform.store,
        platform.relationships,
        platform.projector.projections,
        home=home,
        owner=None,
        next_wake=next_wake,
    )
    return [*_of_status(status), *await asyncio.to_thread(lambda: list(_of_stores(platform, next_wake)))]


@contextmanager
def told_to_prometheus(platform: Platform, home: Path) -> Iterator[None]:
    """Tell how ``platform`` stands wherever this process answers ``/metrics``, as long as the block lasts.

    The asking is done on this event loop: the one that answers is a thread of its own, and the log knows one loop only.
    """
    collector = _Asking(platform, home, asyncio.get_running_loop())
    prometheus_client.REGISTRY.register(collector)
    try:
        yield
    finally:
        prometheus_client.REGISTRY.unregister(collector)


class _Asking(Collector):
    def __init__(self, platform: Platform, home: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._platform = platform
        self._home = home
        self._loop = loop
        self._thread = threading.get_ident()

    def collect(self) -> Iterable[Metric]:
        if threading.get_ident() == self._thread:  # at its registration; to wait for our own loop would be for ever
            return []
        asked = asyncio.run_coroutine_threadsafe(standing(self._platform, self._home), self._loop)
        try:
            return asked.result(_PATIENCE_SECONDS).collect()
        except TimeoutError:
            asked.cancel()
            return []


def _of_status(status: Status) -> Iterator[Metric]:
    yield _by("engage_log_end", "Position behind the last record.", "partition", _ends(status))
    lag = {view.name: view.behind for view in status.views}
    yield _by("engage_view_lag_records", "Log records that a read model has not folded yet.", "view", lag)
    rows = {view.name: view.parked for view in status.views}
    yield _by("engage_parked_rows", "Keys that stand still since their fold failed.", "view", rows)
    yield _one("engage_desk_lag_records", "Log records that the desk has not read yet.", status.desk_behind)
    waiting = status.relay_waiting
    yield _one("engage_relay_waiting_events", "What people did with follow-ups and the log has not yet.", waiting)
    yield _by("engage_store_bytes", "Size of a file, its write-ahead log included.", "store", status.files)
    if status.dead_letters is not None:
        yield _one(
            "engage_dead_letters_kept",
            "Dead letters of rules, and of who follows the log, in the embedded log.",
            status.dead_letters,
        )


def _of_stores(platform: Platform, next_wake: datetime | None) -> Iterator[Metric]:
    now = platform.clock()
    with suppress(ViewMissingError):  # a read model that is not here yet has nothing open
        counted = Reading(platform.store, platform.clock).count_open()
        yield _one("engage_open_follow_ups", "Follow-ups that are not closed.", counted.open)
        yield _one("engage_overdue_follow_ups", "Open follow-ups that are past their service level.", counted.overdue)
    webhooks = platform.webhooks.standings()
    waiting = {one.id: one.waiting for one in webhooks}
    yield _by("engage_webhook_waiting_messages", "What waits to be sent to an endpoint.", "webhook", waiting)
    failing = {one.id: _late(one.failing_since, now) for one in webhooks}
    yield _by("engage_webhook_failing_seconds", "Since when every attempt has failed; 0: it works.", "webhook", failing)
    disabled = {one.id: float(one.disabled is not None) for one in webhooks}
    yield _by("engage_webhook_disabled", "1: nothing is sent to this endpoint.", "webhook", disabled)
    late = {"views": _late(min(platform.next_view_dues().values(), default=None), now)}
    if platform.embedded is not None:
        late["rules"] = _late(next_wake, now)
    yield _by("engage_oldest_due_wake_seconds", "How long the oldest wake that is due has waited.", "of", late)
    if (size := platform.store.database.size()) is not None:
        yield _one("engage_database_bytes", "Size of the PostgreSQL database.", size)


def _ends(status: Status) -> dict[str, float]:
    return {str(one.partition): one.end for one in status.log}


def _late(due: datetime | None, now: datetime) -> float:
    return 0.0 if due is None else max(0.0, (now - due).total_seconds())


def _one(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=value)


def _by(name: str, help_text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, help_text, labels=[label])
    for of, value in values.items():
        family.add_metric([of], value)
    return family
