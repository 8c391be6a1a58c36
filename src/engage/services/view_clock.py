"""Says on the log what time it is where a read model waits for a moment and nothing is recorded that would wake it.

Where the log is embedded, its own tick does that; on Kafka whoever projects asks intake for one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import datetime

from engage.events.validation import Refusal
from engage.log.contract import Publisher
from engage.services.intake import tick
from engage.services.projector import Projector


class ViewClock:
    """Publishes a tick for each moment that the rows of ``projector`` wait for, once it has come.

    ``publisher`` is one without an edge: at the edge nobody may speak for a partition.
    """

    def __init__(self, projector: Projector, publisher: Publisher) -> None:
        self._projector = projector
        self._publisher = publisher
        self._asked: dict[int, datetime] = {}

    async def step(self, now: datetime, partitions: Collection[int] | None = None) -> int:
        """Ask for what is due by ``now``, of these partitions or all; how many ticks. Each is asked for once."""
        dues = await asyncio.to_thread(self._projector.next_dues)
        wanted = {
            partition: due
            for partition, due in dues.items()
            if due <= now and self._asked.get(partition) != due and (partitions is None or partition in partitions)
        }
        if wanted:
            # Intake drops one whose time is past: the read model has just not come as far yet.
            answers = await self._publisher.publish([tick(partition, due) for partition, due in wanted.items()])
            assert not any(isinstance(answer, Refusal) for answer in answers), "without an edge nothing is refused"
            self._asked.update(wanted)
        return len(wanted)
