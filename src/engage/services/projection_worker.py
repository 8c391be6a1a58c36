"""A process that projects where the log is on Kafka: it folds its share of the partitions and passes changes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog

from engage.log.topics import Topics
from engage.services.announcer import Announcer
from engage.services.kafka_transaction import FencedError
from engage.services.platform import BATCH, Platform
from engage.services.projection_shares import SESSION_SECONDS, ProjectionShares
from engage.services.turns import Turns
from engage.services.view_feed import ViewFeed

_SHOW_SECONDS = 5.0
_logger = structlog.get_logger(__name__)


class ProjectionWorker:
    """Turns of projecting, announcing, feeding and the views' clock, over the partitions that are ours by now."""

    def __init__(
        self,
        platform: Platform,
        bootstrap: str,
        topics: Topics,
        clock: Callable[[], datetime],
        *,
        session_seconds: float = SESSION_SECONDS,
    ) -> None:
        self._platform = platform
        self._bootstrap = bootstrap
        self._topics = topics
        self._clock = clock
        self._shares = ProjectionShares(bootstrap, topics, session_seconds)
        self._announcer = Announcer(platform.store, platform.publisher)
        self._view_clock = platform.view_clock
        self._feeds: dict[int, ViewFeed] = {}
        self._shown = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; what fails is told and tried again."""
        parts = {"projections": self._project, "announcements": self._announce, "feeds": self._feed, "lag": self._show}
        async with self._shares:
            try:
                await Turns(self._platform.log, parts).run(stop)
            finally:
                for feed in self._feeds.values():
                    await feed.close()

    async def _project(self) -> int:
        ours = self._shares.partitions
        return await self._platform.projector.step(BATCH, ours) if ours else 0

    async def _announce(self) -> int:
        ours = self._shares.partitions
        if not ours:
            return 0
        return await self._announcer.step(BATCH, ours) + await self._view_clock.step(self._clock(), ours)

    async def _feed(self) -> int:
        await self._claim()
        done, failures = 0, []
        for partition, feed in list(self._feeds.items()):
            try:
                done += await feed.step(BATCH)
            except FencedError:  # it was given to another process, which we shall hear of; nothing of ours was written
                _logger.warning("another process feeds the views of this partition now", partition=partition)
                await self._feeds.pop(partition).close()
            except Exception as error:  # a producer may be past mending: the partition is claimed anew, others go on
                failures.append(error)
                await self._feeds.pop(partition).close()
        if failures:
            raise failures[0]
        return done

    async def _claim(self) -> None:
        """Give up the feeds of partitions that are not ours any more, and claim those of new ones."""
        ours = self._shares.partitions
        for partition in self._feeds.keys() - ours:
            await self._feeds.pop(partition).close()
        for partition in sorted(ours - self._feeds.keys()):
            models = self._platform.projector.projections
            feed = ViewFeed(self._bootstrap, self._topics, self._platform.store, models, partition)
            await feed.claim()
            self._feeds[partition] = feed

    async def _show(self) -> int:
        now = asyncio.get_running_loop().time()
        if now - self._shown > _SHOW_SECONDS:
            self._shown = now
            slowest: dict[int, int] = {}
            paused = await asyncio.to_thread(self._platform.store.paused)
            for one in await asyncio.to_thread(self._platform.projector.positions):
                if one.projection in paused:
                    continue
                slowest[one.partition] = min(one.position, slowest.get(one.partition, one.position))
            await self._shares.show(slowest)
        return 0
