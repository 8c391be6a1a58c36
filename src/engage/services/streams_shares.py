"""A worker's share of the partitions: who works on each of them, and up to where it has read.

Membership is the consumer group's. A rebalance comes in three steps: ``rest`` lets the batches at hand end, ``assign``
gives up and claims, and ``ready`` waits for the claims; nothing flows in between.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import structlog
from aiokafka import TopicPartition

from engage.services.faust_batches import BATCH, Batch
from engage.services.intake import ClockLeapError

TOGETHER = 2 * BATCH
"""Records at most in one transaction: the cells that several of them change are written once."""
IDLE_SECONDS = 0.5
"""For how long nothing may have arrived on a partition before the clock speaks there."""

_logger = structlog.get_logger(__name__)


class Owner(Protocol):
    """Whoever works on a partition: it takes batches of Kafka records, and may speak when nothing arrives."""

    async def take(self, records: Sequence[Any], now: datetime) -> object: ...
    async def idle(self, now: datetime) -> None: ...
    async def close(self) -> None: ...


Claim = Callable[[TopicPartition], Awaitable[tuple[Owner, int]]]
"""Fences and loads a partition: its owner, and the offset to read from."""


class _Share:
    """A partition of a topic that is ours: who works on it, and up to where it has read (``position``)."""

    def __init__(self, claim: asyncio.Future[tuple[Owner, int]]) -> None:
        self.claim = claim
        self.turn = asyncio.Lock()
        self.waiting: deque[Batch] = deque()
        self.owner: Owner | None = None
        self.position = 0
        self.flows = False
        self.last_batch = 0.0

    async def claimed(self) -> None:
        """Return when the claim is over, also where it was given up meanwhile; raises what it raised."""
        if self.owner is None:
            await asyncio.wait([self.claim])
            if not self.claim.cancelled():
                self.owner, self.position = self.claim.result()

    def gather(self) -> list[Batch]:
        """The batches that wait and join without gap or overlap, as many as make one transaction."""
        gathered: list[Batch] = []
        count = 0
        while self.waiting:
            batch = self.waiting[0]
            if gathered and (batch.start != gathered[-1].end or count + len(batch.records) > TOGETHER):
                break
            gathered.append(self.waiting.popleft())
            count += len(batch.records)
        return gathered

    async def give_up(self) -> None:
        self.flows = False
        self.claim.cancel()
        await asyncio.gather(self.claim, return_exceptions=True)
        async with self.turn:
            if not self.claim.cancelled() and not self.claim.exception():
                await self.claim.result()[0].close()


class Shares:
    """What this process owns, by topic and partition; ``claim`` says who works on each."""

    def __init__(self, claim: Claim, clock: Callable[[], datetime]) -> None:
        self._claim = claim
        self._clock = clock
        self._shares: dict[TopicPartition, _Share] = {}
        self._rests = 0

    def positions(self) -> dict[TopicPartition, int]:
        """Up to where each partition has been read, as far as it is claimed."""
        return {tp: share.position for tp, share in self._shares.items() if share.owner is not None}

    async def rest(self) -> None:
        """Let the batches at hand end, and take no more: another worker may claim what is ours from now on."""
        self._rests += 1
        for share in self._shares.values():
            share.flows = False
        for share in self._shares.values():
            async with share.turn:
                pass

    async def assign(self, revoked: Iterable[TopicPartition], new: Iterable[TopicPartition]) -> None:
        """Give up what was revoked, and begin to claim what is new: fence, then load.

        It does not wait for the end of the claims: until this returns, the group hears no heartbeat of ours.
        """
        given_up = [self._shares.pop(tp) for tp in {*revoked, *new} if tp in self._shares]
        await asyncio.gather(*(share.give_up() for share in given_up))
        for tp in new:
            self._shares[tp] = _Share(asyncio.ensure_future(self._claim(tp)))

    async def ready(self) -> None:
        """Wait until all is claimed; raises what a claim raised. From here on batches are taken.

        If all is to rest meanwhile, the group shares out anew: that is then waited for again, and nothing flows yet.
        """
        rests = self._rests
        for share in list(self._shares.values()):
            await share.claimed()
        if self._rests == rests:
            for share in self._shares.values():
                share.flows = True

    async def take(self, batch: Batch) -> int | None:
        """Hand a batch to its owner; where to read on if it does not go on from where the last one ended, else None.

        What comes while the owner is at work waits, and is then taken together in one transaction: the more there is to
        do, the less a record costs.
        """
        tp = TopicPartition(batch.topic, batch.partition)
        share = self._shares.get(tp)
        if share is None:
            return None
        share.waiting.append(batch)
        async with share.turn:
            gathered = share.gather()
            if not gathered or not share.flows or share.owner is None:
                return None
            if gathered[0].start > share.position:
                # It was fetched before the partition was claimed, or what lies before it was dropped on the way here.
                return share.position
            try:
                await share.owner.take([record for each in gathered for record in each.records], self._clock())
            except ClockLeapError as error:
                share.flows = False
                _logger.error("partition stopped", topic=tp.topic, partition=tp.partition, reason=str(error))
                return None
            share.position = max(share.position, gathered[-1].end)
            share.last_batch = asyncio.get_running_loop().time()
        return None

    async def idle(self) -> None:
        """Let the clock speak on the partitions on which nothing arrives."""
        before = asyncio.get_running_loop().time() - IDLE_SECONDS
        now = self._clock()
        for share in list(self._shares.values()):
            if share.flows and share.last_batch < before and not share.turn.locked():
                async with share.turn:
                    if share.flows and share.owner is not None:
                        await share.owner.idle(now)

    def missed(self, reached: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Where to read again: partitions fetched beyond what came here, and from which nothing has come for long."""
        before = asyncio.get_running_loop().time() - 10 * IDLE_SECONDS
        return {
            tp: share.position
            for tp, share in self._shares.items()
            if share.flows
            and share.last_batch < before
            and not share.turn.locked()
            and reached.get(tp, 0) > share.position
        }

    async def close(self) -> None:
        """Let the batches at hand end, and give everything up."""
        await self.rest()
        shares, self._shares = list(self._shares.values()), {}
        await asyncio.gather(*(share.give_up() for share in shares))
