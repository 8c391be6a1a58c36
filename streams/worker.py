"""The Faust worker: intake (inbox to log) and rules (log to decisions) on Apache Kafka.

``faust -A streams.worker worker``, or ``engage worker streams``. A thin shell: who owns which partition is Faust's to
say, the work is ``PartitionIntake``'s and ``PartitionRunner``'s. Whoever loses a partition cannot write to it any more,
so an error ends the process at once, and its supervisor starts it again: nothing is lost by it, and nothing doubled.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import faust
import structlog
from aiokafka import TopicPartition
from faust.tables import TableManager

from engage import bootstrap
from engage.interpreter import freeze, tune
from engage.log.topics import Topics
from engage.services import metrics
from engage.services.configuration import Configured
from engage.services.edge import Edge
from engage.services.faust_batches import BATCH, Batch, BatchApp, BatchScheduler, BatchSchema
from engage.services.streams_claims import StreamsClaims
from engage.services.streams_shares import Claim, Shares
from engage.settings import Settings, SettingsError

SESSION_SECONDS = 10.0
FETCH_BYTES = 4 << 20
_STUCK_SECONDS = 300.0
_BEAT_SECONDS = 0.2
_SHOW_SECONDS = 1.0
_GATHERED = 16
"""Batches of a partition at most that wait to be taken together."""
_YOUNG = 200_000
"""Objects before the collector of garbage looks at them: of a batch's, which are no garbage, most are gone by then."""
_END = 1

_logger = structlog.get_logger(__name__)


class _Claims(TableManager):
    """Faust's tables are not used, but theirs is the first word at an assignment: early enough to fence and load."""

    app: Any

    async def on_rebalance(self, assigned: Any, revoked: Any, newly_assigned: Any, generation_id: int = 0) -> None:
        await _or_end(self.app.shares.assign(_plain(revoked), _plain(newly_assigned)))
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)


class StreamsApp(BatchApp):
    """A Faust app whose agents hand their batches to this worker's ``shares``."""

    shares: Shares
    closing: Callable[[], Awaitable[None]]
    """What to close when the partitions are given up."""

    async def on_stop(self) -> None:
        """Give the partitions up in good order, so that nobody waits for a transaction left open."""
        await super().on_stop()
        await self.shares.close()
        await self.closing()


def make_app(
    settings: Settings, chosen: Configured | None = None, *, session_seconds: float = SESSION_SECONDS
) -> StreamsApp:
    """The app for these settings, with all rules if none are ``chosen``; SettingsError if the log is not on Kafka.

    ``session_seconds`` is how long a silent worker keeps its partitions. Its figures are served from here on, if the
    settings name a port for them.
    """
    if not settings.kafka:
        raise SettingsError("ENGAGE_LOG is empty: a streams worker needs kafka://host:port; `engage up` needs none")
    topics = Topics(settings.topics)
    chosen = chosen or bootstrap.rules(settings)
    keys = bootstrap.key_store(settings)
    claims = StreamsClaims(
        settings.kafka,
        topics,
        Edge(keys, _now),
        chosen.rules,
        chosen.policy,
        _now,
        window=timedelta(days=settings.window_days),
        folder=settings.home_path,
    )
    agents = {"intake": topics.inbox, "rules": topics.interactions}
    app = sharing_app(settings, claims.group, agents, claims.claim, session_seconds=session_seconds)

    async def close() -> None:
        await claims.close()
        keys.close()

    app.closing = close
    metrics.serve(settings.metrics_port)
    return app


def sharing_app(
    settings: Settings, group: str, agents: Mapping[str, str], claim: Claim, *, session_seconds: float = SESSION_SECONDS
) -> StreamsApp:
    """An app with an agent for each topic (by the agent's name), whose partitions are claimed with ``claim``."""
    home = settings.home_path / "faust"
    home.mkdir(parents=True, exist_ok=True)
    app = StreamsApp(
        group,
        broker=[f"aiokafka://{address.strip()}" for address in (settings.kafka or "").split(",")],
        datadir=str(home),
        store="memory://",
        TableManager=_Claims,
        ConsumerScheduler=BatchScheduler,
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        key_serializer="raw",
        value_serializer="raw",
        stream_buffer_maxsize=16,
        stream_wait_empty=False,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=FETCH_BYTES,
        broker_max_poll_records=BATCH,
        broker_max_poll_interval=_STUCK_SECONDS,
        broker_session_timeout=session_seconds,
        broker_heartbeat_interval=session_seconds / 5,
    )
    app.shares = Shares(claim, _now)
    app.positions = app.shares.positions
    for name, topic in agents.items():
        _agent(app, name, topic)
    _follow_rebalances(app)
    return app


def run(app: StreamsApp) -> None:
    """Work until SIGTERM or Ctrl-C; ends the process."""
    tune(_YOUNG)
    worker = faust.Worker(app, loglevel="WARN", quiet=True, redirect_stdouts=False, stdout=io.StringIO())
    worker.spinner = None  # quiet or not, it would have every library make its debug lines, for the spinner to turn by
    worker.execute_from_commandline()


def _agent(app: StreamsApp, name: str, topic: str) -> None:
    # Acknowledgements are off: where a partition stands is in its own transactions.
    source = app.topic(topic, schema=BatchSchema(), internal=False, acks=False)

    @app.agent(source, name=name, isolated_partitions=True, concurrency=1)
    async def work(batches: Any) -> None:
        # Tasks of their own: what comes while a batch is worked on is gathered, and Faust, which cancels an agent whose
        # partition is revoked, lets its transaction come to its end.
        under_way: set[asyncio.Task[None]] = set()
        async for batch in batches:
            under_way.add(asyncio.ensure_future(_take(app, batch)))
            while len(under_way) >= _GATHERED:
                _, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)


def _follow_rebalances(app: StreamsApp) -> None:
    shares = app.shares

    @app.on_partitions_revoked.connect  # type: ignore[arg-type]
    async def rest(app: Any, *_: Any, **more: Any) -> None:
        await _or_end(shares.rest())

    @app.on_rebalance_complete.connect  # type: ignore[arg-type]
    async def ready(app: Any, *_: Any, **more: Any) -> None:
        await _or_end(shares.ready())
        freeze()

    @app.task  # type: ignore[untyped-decorator]
    async def beat(app: StreamsApp) -> None:
        while not app.should_stop:
            await app.sleep(_BEAT_SECONDS)
            await _or_end(shares.idle())
            await app.seek(shares.missed(app.reached()))

    @app.task  # type: ignore[untyped-decorator]
    async def show(app: StreamsApp) -> None:
        shown: dict[TopicPartition, int] = {}
        while not app.should_stop:
            await app.sleep(_SHOW_SECONDS)
            news = {tp: offset for tp, offset in shares.positions().items() if shown.get(tp) != offset}
            if news and await app.show(news):
                shown.update(news)


async def _take(app: StreamsApp, batch: Batch) -> None:
    again = await _or_end(app.shares.take(batch))
    if again is not None:
        await app.seek({TopicPartition(batch.topic, batch.partition): again})


async def _or_end(work: Awaitable[Any]) -> Any:
    """Do it, or end the process as a crash would: all that it holds stands in transactions of others to come."""
    try:
        return await work
    except Exception as error:
        _logger.error("worker ends", reason=str(error) or type(error).__name__, exc_info=not _known(error))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_END)


def _known(error: Exception) -> bool:
    """Whether it is one of ours, whose message says all there is to say."""
    return type(error).__module__.startswith("engage.")


def _plain(partitions: Any) -> set[TopicPartition]:
    return {TopicPartition(*tp) for tp in partitions}


def _now() -> datetime:
    return datetime.now(UTC)


def __getattr__(name: str) -> Any:
    """``app``, made when it is asked for: importing this module needs no broker and no settings."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()["app"] = make_app(bootstrap.settings())
    return made
