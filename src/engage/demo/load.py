"""Load the demo as it was lived: day after day its events, what the rules ask for, and what the managers do about it.

A load may be killed at any moment; the next one goes on and ends in exactly what an uninterrupted one gives, because
every step depends on what is stored alone, may be done twice, and is not begun before the one before it is complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from heapq import heappop, heappush
from itertools import chain, repeat
from typing import Any
from uuid import UUID

from msgspec import Raw, Struct

from engage.demo.history import History, history
from engage.demo.people import manager_of
from engage.demo.projecting import LOADED_AT_ONCE, Beside
from engage.demo.purchases import DAYS
from engage.demo.staff import Action, act
from engage.events import codec
from engage.events.catalogue import type_of
from engage.events.catalogue.follow_up import FollowUpRequested
from engage.events.envelope import EPOCH, Event, from_micros, to_micros
from engage.events.validation import Refusal
from engage.log.sqlite import SqliteLog
from engage.relationships.commands import Assign, Command, Complete, Dismiss
from engage.rules.rule import MANAGER
from engage.services.embedded import EmbeddedLog
from engage.services.platform import BATCH, Platform
from engage.store.views import NEVER, PositionMovedError

STAFF = "engage/demo/staff"
"""Who acts when a simulated manager does."""

# A round is a day; two more at the end bring to rest what the last day set going.
_ROUNDS = DAYS + 2
# Marker: twice the rounds published, plus one when the last of them is being relayed.
_MARKER = "demo"
_DONE = 2 * _ROUNDS + 2
_LOOK_SECONDS = 0.2

_REQUESTED = type_of(FollowUpRequested)
_MARK = b'"' + _REQUESTED.encode() + b'"'

Progress = Callable[[int, int], None]
"""Called with the events loaded so far and their total."""


class Plan(Struct, frozen=True):
    """Which history is loaded: its last day, the moment nothing lies after, and which share of the customers (0-1)."""

    today: date
    now: datetime
    scale: float = 1.0

    def history(self) -> History:
        """The history of this plan."""
        return history(today=self.today, now=self.now, scale=self.scale)


class LoadClock:
    """The platform's clock while history is loaded: it stands where the load has come to, and runs when it is done."""

    def __init__(self, real: Callable[[], datetime]) -> None:
        self._real = real
        self.stands_at: datetime | None = None

    def __call__(self) -> datetime:
        """The moment it stands at, or the real time."""
        return self.stands_at or self._real()


class DemoRefusedError(RuntimeError):
    """The log refused an event of the demo: a fault of engage. Report it with the message."""


def is_loaded(log: SqliteLog) -> bool:
    """Whether the whole demo is in the log, and nothing of the load is left to do."""
    return log.marker(_MARKER) >= _DONE


def begun(log: SqliteLog) -> Plan | None:
    """The plan of a load that began and has not ended, None where there is none."""
    return _plan(log) if log.marker("demo:now") and not is_loaded(log) else None


async def load(
    platform: Platform,
    clock: LoadClock,
    wanted: Plan,
    progress: Progress | None = None,
    folding: Progress | None = None,
    beside: Beside | None = None,
) -> Plan:
    """Load the demo, or what is left of it, and bring the read models up to date; what was loaded.

    ``platform`` has an embedded log and was made with ``clock``. A load that began earlier goes on with the plan it
    began with, whatever is ``wanted``. ``beside`` folds the read models meanwhile, and has ended then; ``folding`` gets
    the progress of what is left of that. History is folded in silence: what read models would have announced of it is
    not news. ValueError without an embedded log, DemoRefusedError at an event refused.
    """
    if platform.embedded is None:
        raise ValueError("the demo is loaded into the embedded log only: leave ENGAGE_LOG empty")
    plan = await _agree(platform.embedded, wanted)
    partitions = range(platform.log.partitions)
    if not is_loaded(platform.embedded.log):
        platform.store.announce_from(dict.fromkeys(partitions, NEVER))
        if beside is not None:
            beside.follow(partitions)
        try:
            await _Load(platform, platform.embedded, clock, plan.history()).run(progress or _silent)
        finally:
            clock.stands_at = None
        await platform.embedded.rest()
        if beside is not None:
            await beside.leave()
            beside.share(await _left(platform))
            await _watch(platform, beside, folding or _silent)
            await asyncio.to_thread(beside.end)
        await _catch_up(platform, folding or _silent)
        platform.store.announce_from({one: await platform.log.end(one) for one in partitions})
    elif beside is not None:
        await asyncio.to_thread(beside.end)
    await _catch_up(platform, folding or _silent)
    return plan


async def _watch(platform: Platform, beside: Beside, progress: Progress) -> None:
    """Wait until they have folded what is left, and say how much that is."""
    whole = left = sum((await _left(platform)).values())
    while left and beside.alive:
        await asyncio.sleep(_LOOK_SECONDS)
        left = sum((await _left(platform)).values())
        progress(whole - left, whole)


async def _catch_up(platform: Platform, progress: Progress) -> None:
    """Fold what is left, and say how much that is."""
    whole = sum((await _left(platform)).values())
    done = 1
    while done:
        try:
            done = await platform.projector.step(LOADED_AT_ONCE)
        except PositionMovedError:  # What folded beside a load that was killed is at its last batch.
            continue
        progress(whole - sum((await _left(platform)).values()), whole)


async def _left(platform: Platform) -> dict[int, int]:
    """How many records of each partition some read model has before it."""
    left: dict[int, int] = {}
    for one in await platform.projector.lag():
        left[one.partition] = max(left.get(one.partition, 0), one.behind)
    return left


def _silent(done: int, total: int) -> None:
    """Progress that nobody watches."""


async def _agree(embedded: EmbeddedLog, wanted: Plan) -> Plan:
    """The plan on the log; ``wanted`` becomes it if there is none."""
    log = embedded.log
    if not log.marker("demo:now"):
        for name, value in (
            ("demo:today", wanted.today.toordinal()),
            ("demo:scale", round(wanted.scale * 1_000_000)),
            ("demo:now", to_micros(wanted.now)),
        ):
            await embedded.publish([], marker=(name, value))
    return _plan(log)


def _plan(log: SqliteLog) -> Plan:
    return Plan(
        today=date.fromordinal(log.marker("demo:today")),
        now=from_micros(log.marker("demo:now")),
        scale=log.marker("demo:scale") / 1_000_000,
    )


class _Load:
    def __init__(self, platform: Platform, embedded: EmbeddedLog, clock: LoadClock, story: History) -> None:
        self._platform = platform
        self._embedded = embedded
        self._clock = clock
        self._story = story

    async def run(self, progress: Progress) -> None:
        """All that is left of the history; if the power fails on the way, begin again with ``--fresh``."""
        with self._embedded.log.hurried(), self._platform.relationships.hurried():
            await self._live(progress)
        await self._embedded.publish([], marker=(_MARKER, _DONE))

    async def _live(self, progress: Progress) -> None:
        published, relaying = divmod(self._embedded.log.marker(_MARKER), 2)
        first = max(0, published - 1)
        done = self._story.before(first)
        managers: _Managers | None = None
        for number, (end, events) in self._rounds(first):
            self._clock.stands_at = end
            if number >= published:
                await self._publish(events, number)
            if number >= published or not relaying:
                managers = managers or _Managers(self._platform, self._end_before(number))
                await self._decide(managers, end, number)
            while await self._platform.relay.step(BATCH):
                pass
            done += len(events)
            progress(done, len(self._story))

    def _rounds(self, first: int) -> Iterator[tuple[int, tuple[datetime, list[Event[Raw]]]]]:
        at_rest: tuple[datetime, list[Event[Raw]]] = (self._story.end, [])
        after = repeat(at_rest, _ROUNDS - max(first, DAYS))
        return enumerate(chain(self._story.days(first), after), start=first)

    def _end_before(self, number: int) -> datetime:
        """The end of the round before, 1970 before the first one."""
        return min(self._story.first_day + timedelta(days=number), self._story.end) if number else EPOCH

    async def _publish(self, events: list[Event[Raw]], number: int) -> None:
        answers = await self._embedded.publish(events, as_lived=True, marker=(_MARKER, 2 * (number + 1)))
        for event, answer in zip(events, answers, strict=True):
            if isinstance(answer, Refusal):
                raise DemoRefusedError(f"event {event.id!r} of {event.subject!r} was refused: {answer}")

    async def _decide(self, managers: _Managers, end: datetime, number: int) -> None:
        """All that leads to what is relayed next; until its marker stands, nothing of it has reached the log."""
        while await self._embedded.tick(end):
            pass
        while await self._platform.desk.step(BATCH):
            pass
        if commands := await managers.commands(end):
            # One transaction: done or not done. Done again, it is refused or changes nothing.
            await asyncio.to_thread(self._platform.desk.do, commands)
        await self._platform.desk.expire_due(end)
        await self._embedded.publish([], marker=(_MARKER, 2 * (number + 1) + 1))


class _Managers:
    """What the managers do, read from the requests on the log; what was done before ``since`` is not done again."""

    def __init__(self, platform: Platform, since: datetime) -> None:
        self._log = platform.log
        self._since = since
        self._positions = [0] * platform.log.partitions
        self._plans: list[tuple[datetime, str, Action]] = []

    async def commands(self, until: datetime) -> list[Command]:
        """Assign what is a person's task (the rest goes out by itself), and act on what is come to up to ``until``."""
        asked = [request for partition in range(len(self._positions)) for request in await self._new(partition)]
        commands: list[Command] = [
            Assign(id=UUID(event.id), assignee=manager_of(event.subject), actor=STAFF, at=event.now)
            for event in asked
            if event.now >= self._since and MANAGER in event.data.channels
        ]
        for event in asked:
            action = act(event.id, event.data.rule, event.now, event.data.expires)
            if action is not None and action.at >= self._since:
                heappush(self._plans, (action.at, event.id, action))
        while self._plans and self._plans[0][0] <= until:
            at, identity, action = heappop(self._plans)
            if action.verb == "complete":
                commands.append(Complete(id=UUID(identity), outcome=action.code, actor=STAFF, at=at))
            else:
                commands.append(Dismiss(id=UUID(identity), reason=action.code, actor=STAFF, at=at))
        return commands

    async def _new(self, partition: int) -> list[Event[Any]]:
        asked: list[Event[Any]] = []
        while (batch := await self._log.read(partition, self._positions[partition], BATCH)).records:
            self._positions[partition] = batch.next_position
            for record in batch.records:
                if _MARK not in record.value:
                    continue
                event = codec.decode(record.value)
                if event.type == _REQUESTED:
                    event.recorded = record.recorded
                    asked.append(codec.open_data(event))
        return asked
