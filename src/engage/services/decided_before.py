"""What was decided before a partition's rules lost their state: on the log, or in the inbox on its way there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiokafka import TopicPartition
from msgspec import Raw

from engage.events.envelope import Event
from engage.events.validation import Refusal
from engage.log.topics import Topics
from engage.rules.decisions import SOURCE
from engage.rules.decisions import TYPES as DECISIONS
from engage.rules.mending import is_word, opened
from engage.services import kafka_message
from engage.services.records import events_of
from engage.services.rules_changelog import committed

_MAY_BE_ONE = SOURCE.encode()
"""To look for it takes a tenth of the time of decoding a record, and few are decisions."""
_MAY_BE_WORD = b'"dead_letter.'


class LoggedDecisions:
    """The decisions on the log in ``span``, read ahead of the fold that asks for them, and no further than it needs.

    They stand in the order in which they were decided. Those that intake had not taken at its end, from ``inbox`` on,
    belong to them. It has a reader of the log to itself, for the fold reads the same records a little later. That it is
    complete up to where it began was seen when the partition was claimed. It is ``exhausted`` once its answer is None.
    """

    def __init__(self, bootstrap: str, topics: Topics, partition: int, span: tuple[int, int], inbox: int) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._partition = partition
        self._span = span
        self._inbox = inbox
        self._decisions = self._read()
        self._next: Event[Any] | None = None
        self.exhausted = False
        self.words: list[Event[Any]] = []

    async def begin(self) -> bool:
        """Look for the first of them, before ``at`` is asked: where there are none, all there is is read for it.

        Whether there is one.
        """
        await self._advance()
        return self._next is not None

    async def at(self, offset: int) -> Sequence[Event[Any]] | None:
        """See ``DecidedBefore``."""
        found = []
        while self._next is not None and self._next.data.decided_at <= offset:
            found.append(self._next)
            await self._advance()
        self.exhausted = not found and self._next is None
        return None if self.exhausted else found

    async def close(self) -> None:
        """Close the readers."""
        await self._decisions.aclose()  # type: ignore[attr-defined]

    async def _advance(self) -> None:
        self._next = await anext(self._decisions, None)

    async def _read(self) -> AsyncIterator[Event[Any]]:
        start, end = self._span
        tp = TopicPartition(self._topics.interactions, self._partition)
        async for records in committed(self._bootstrap, tp, start):
            for record in records:
                if record.offset >= end or record.value is None:
                    continue
                if _MAY_BE_ONE in record.value:
                    for decision in filter(None, map(_decision, events_of([record]))):
                        if decision.data.decided_at >= start:
                            yield decision
                elif _MAY_BE_WORD in record.value:
                    for word in events_of([record]):
                        self._hear(word)
        tp = TopicPartition(self._topics.inbox, self._partition)
        async for records in committed(self._bootstrap, tp, self._inbox):
            for record in records:
                event = kafka_message.read(record)
                found = None if isinstance(event, Refusal) else _decision(event)
                if found is not None and found.data.decided_at >= start:
                    yield found

    def _hear(self, event: Event[Any]) -> None:
        if is_word(event) and (word := opened(event)) is not None:
            self.words.append(word)


def _decision(event: Event[Raw]) -> Event[Any] | None:
    if event.type not in DECISIONS or event.source != SOURCE or event.is_copy:
        return None
    return opened(event)
