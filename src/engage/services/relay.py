"""The relay: what the aggregates recorded reaches the log, in order, each once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress

import structlog
from msgspec import Raw

from engage.events import codec
from engage.events.envelope import Event
from engage.events.validation import Refusal
from engage.log.contract import Log, Publisher, Record
from engage.relationships.aggregate import RELAY, SOURCE, AccountEvent, published_id
from engage.relationships.application import Relationships
from engage.relationships.recorder import Move, PositionMovedError
from engage.relationships.restore import restore, was_relayed
from engage.services.records import events_of

_READ_AT_ONCE = 5_000

_logger = structlog.get_logger(__name__)


class RelayRefusedError(RuntimeError):
    """The log refused an event of ours: a fault of engage or of its versions. The relay stops there; report it."""


class Relay:
    """Publishes, then records how far it came: a crash between the two publishes again, and the log knows the ids."""

    def __init__(self, relationships: Relationships, publisher: Publisher) -> None:
        self._app = relationships
        self._publisher = publisher
        self._known: int | None = None

    async def step(self, limit: int) -> int:
        """Relay up to ``limit`` events; how many, 0 when all is relayed. RelayRefusedError at one that is refused."""
        previous, waiting = await asyncio.to_thread(self._waiting, limit)
        if not waiting:
            return 0
        answers = await self._publisher.publish([as_published(event) for _, event in waiting])
        position = previous or 0
        for (notification, event), answer in zip(waiting, answers, strict=True):
            if isinstance(answer, Refusal):
                await self._advance(previous, position)
                raise RelayRefusedError(
                    f"the log refused version {event.originator_version} of {event.originator_id} (notification "
                    f"{notification}): {answer}; the relay stopped there, nothing is lost: update engage, then start it"
                )
            position = notification
        await self._advance(previous, position)
        return len(waiting)

    def _waiting(self, limit: int) -> tuple[int | None, list[tuple[int, AccountEvent]]]:
        """The relay's position, and what comes behind it."""
        previous = self._known if self._known is not None else self._app.position(RELAY)
        return previous, self._app.notifications(previous or 0, limit)

    async def _advance(self, previous: int | None, position: int) -> None:
        if position == (previous or 0):
            return
        self._known = None
        try:
            await asyncio.to_thread(self._app.record, (), Move(RELAY, previous, position))
        except PositionMovedError as error:
            _logger.warning("relay_position_moved", detail=str(error))
        else:
            self._known = position


def as_published(event: AccountEvent) -> Event[Raw]:
    """The event as the log keeps it: whole, so that ``restore`` can bring the aggregate back."""
    identity = str(event.originator_id)
    return codec.new_event(
        event.data,
        id=published_id(event.originator_id, event.originator_version),
        source=SOURCE,
        subject=event.account,
        time=event.timestamp,
        causationid=identity,
        correlationid=identity,
        actor=event.actor,
    )


async def restore_from(source: Log, relationships: Relationships) -> int:
    """Bring a lost store back from the log, once and before anything else is done; the number of events stored.

    Whether it was done is kept in the store itself: interrupted, it is done again, and what is there stays.
    """
    done = f"restored:{source.generation}"
    if await asyncio.to_thread(relationships.position, done) is not None:
        return 0
    stored = 0
    for partition in range(source.partitions):
        # A partition holds its accounts whole, and restore needs all events of an aggregate at once.
        ours: list[Event[Raw]] = []
        position, end = 0, await source.end(partition)
        while position < end:
            batch = await source.read(partition, position, _READ_AT_ONCE)
            ours += _ours(batch.records)
            position = batch.next_position
        stored += await asyncio.to_thread(restore, relationships, ours)
    with suppress(PositionMovedError):  # Another process restored the same store from the same log.
        await asyncio.to_thread(relationships.record, (), Move(done, None, 1))
    return stored


def _ours(records: Iterable[Record]) -> list[Event[Raw]]:
    return [event for event in events_of(records) if was_relayed(event)]
