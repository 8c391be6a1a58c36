"""A process that projects where the log is on Kafka: it folds its share of the partitions and passes changes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

import structlog

from engage.log.topics import Topics
from engage.services.announcer import Announcer
from engage.services.folding_forks import WORTH, FoldingFork, FoldingForks, ForkGoneError, far_behind
from engage.services.kafka_transaction import FencedError
from engage.services.platform import BATCH, Platform
from engage.services.projection_shares import SESSION_SECONDS, ProjectionShares
from engage.services.projector import Projector
from engage.services.turns import Part, Turns
from engage.services.view_feed import ViewFeed
from engage.store.feeds import Fed, Feeds

_SHOW_SECONDS = 5.0
LANES = 2
"""Partitions are folded in so many turns beside each other: while what one has folded is on its way into PostgreSQL,
which takes as long as to fold it, the other one folds. Far from their end each has a process of its own."""
_GATHER_SECONDS = 0.03
"""From one small batch to the next, at least: a commit costs about what folding thirty events does, so what comes
meanwhile goes together."""
_SPOKEN_SECONDS = 0.1
"""From one look for announcements to the next, at least: each takes a transaction, and what is found another one and
a round through Kafka."""
_TICK_SECONDS = 0.25
"""How often it is asked whether a row waits for a moment that has come."""
_REST, _MOST_REST = 3.0, 5.0
"""Who feeds topics rests so many times as long as it has read, and then as long as it all took, up to so many seconds a
pass over all partitions: brokers and database are there for others too, and a row that changes again meanwhile is fed
once. Without rests between, whoever waits for a view waited for half a second once in five."""
_logger = structlog.get_logger(__name__)


class _Lane:
    """Who folds a part of our partitions, and when its next batch may begin.

    ``fork`` is a process that does as long as they are far from their end, None where there is none, or not any more.
    """

    def __init__(self, number: int, projector: Projector, fork: FoldingFork | None) -> None:
        self.number = number
        self.projector = projector
        self.not_before = 0.0
        self._fork = fork
        self._far = False

    async def step(self, partitions: Sequence[int]) -> int:
        """A batch of each of these partitions, or of one that is far from its end; how many records."""
        if self._fork is None:
            return await self.projector.step(BATCH, partitions)
        if not self._far:
            self._far = sum((await far_behind(self.projector, partitions)).values()) >= WORTH
        done = 0
        if self._far:
            try:
                done = await self._fork.step(BATCH, partitions)
            except ForkGoneError as error:
                _logger.error("what it was to fold is folded here", why=str(error))
        if done < BATCH:
            await self.end()
        return done or await self.projector.step(BATCH, partitions)

    async def end(self) -> None:
        """Let the process go."""
        fork, self._fork = self._fork, None
        if fork is not None:
            await asyncio.to_thread(fork.end)


class ProjectionWorker:
    """Turns of projecting, announcing, feeding and the views' clock, over the partitions that are ours by now.

    ``forks`` are processes that fold beside this one while it is far behind, ``LANES`` of them.
    """

    def __init__(
        self,
        platform: Platform,
        bootstrap: str,
        topics: Topics,
        clock: Callable[[], datetime],
        *,
        session_seconds: float = SESSION_SECONDS,
        forks: FoldingForks | None = None,
    ) -> None:
        self._platform = platform
        self._bootstrap = bootstrap
        self._topics = topics
        self._clock = clock
        self._shares = ProjectionShares(bootstrap, topics, session_seconds)
        self._announcer = Announcer(platform.store, platform.publisher)
        self._view_clock = platform.view_clock
        self._feeds: dict[int, ViewFeed] = {}
        self._unfed: dict[int, dict[str, Fed]] = {}
        projectors = [platform.projector, *(platform.projector.fellow() for _ in range(1, LANES))]
        self._lanes = [
            _Lane(number, projector, forks.take() if forks else None) for number, projector in enumerate(projectors)
        ]
        self._moved = {name: asyncio.Event() for name in ("announcements", "feeds", "lag")}
        self._noted = Feeds(platform.store.database)
        self._told = [model.name for model in platform.projector.projections if not model.append_only]
        self._shown = self._ticked = self._feeds_rest = self._silent_until = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; what fails is told and tried again."""
        lanes: dict[str, Part] = {
            f"projections {number}": partial(self._project, lane) for number, lane in enumerate(self._lanes, 1)
        }
        others: dict[str, Part] = {"announcements": self._announce, "feeds": self._feed, "lag": self._show}
        async with self._shares:
            try:
                # Nobody who waits for a view is to wait for its topic, or for what another one announces; and while
                # the log grows all the time, they look no more often than there is anything to see.
                await Turns(self._platform.log, lanes | others, beside=list(lanes), driven=self._moved).run(stop)
            finally:
                for lane in self._lanes:
                    await lane.end()
                for feed in self._feeds.values():
                    await feed.close()

    async def _project(self, lane: _Lane) -> int:
        ours, loop = sorted(self._shares.partitions)[lane.number :: LANES], asyncio.get_running_loop()
        if not ours:
            return 0
        await asyncio.sleep(max(0.0, lane.not_before - loop.time()))
        began = loop.time()
        done = await lane.step(ours)
        if done:
            for one in self._moved.values():
                one.set()
        lane.not_before = began + _GATHER_SECONDS if done < BATCH else 0.0
        return done

    async def _announce(self) -> int:
        ours = self._shares.partitions
        if not ours:
            return 0
        loop, asked = asyncio.get_running_loop(), 0
        await asyncio.sleep(max(0.0, self._silent_until - loop.time()))
        if loop.time() - self._ticked > _TICK_SECONDS:
            self._ticked = loop.time()
            asked = await self._view_clock.step(self._clock(), ours)
        try:
            return asked + await self._announcer.step(BATCH, ours)
        finally:
            self._silent_until = loop.time() + _SPOKEN_SECONDS

    async def _feed(self) -> int:
        """Feed the changes of one partition, the next one of a pass over all of them."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._feeds_rest - loop.time()))
        if not self._unfed:
            await self._claim()
            if self._feeds:
                self._unfed = await asyncio.to_thread(self._noted.behind, self._told, list(self._feeds))
        if not self._unfed:
            return 0
        partition = next(iter(self._unfed))
        behind = self._unfed.pop(partition)
        began = loop.time()
        try:
            done = await self._feeds[partition].step(BATCH, behind, _REST)
        except FencedError:  # it was given to another process, which we shall hear of; nothing of ours was written
            _logger.warning("another process feeds the views of this partition now", partition=partition)
            await self._feeds.pop(partition).close()
            return 0
        except Exception:  # a producer may be past mending: the partition is claimed anew
            await self._feeds.pop(partition).close()
            raise
        self._feeds_rest = loop.time() + min(_MOST_REST / len(self._feeds), loop.time() - began)
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
