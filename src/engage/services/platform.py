"""The platform: log, rules, desk, relay and projections joined, and the loop that keeps them going."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import structlog
from msgspec import Raw

from engage.events.envelope import Event
from engage.events.validation import Refusal
from engage.log.contract import Answer, Appender, Log, Publisher
from engage.relationships.application import Relationships
from engage.services import metrics
from engage.services.access import Access
from engage.services.announcer import Announcer
from engage.services.audit import Trail, TrailRelay
from engage.services.configuration import Configured
from engage.services.desk import Desk
from engage.services.edge import Edge
from engage.services.embedded import EmbeddedLog
from engage.services.erasure import Erasures
from engage.services.folded_beside import FoldedBeside
from engage.services.folding import Told
from engage.services.gathering import Gathering
from engage.services.letters.finding import DeadLetters
from engage.services.letters.unread import DESK, ERASURES, WEBHOOKS
from engage.services.openings import Openings
from engage.services.owner import Owner
from engage.services.past import Past
from engage.services.projector import Projector
from engage.services.relay import Relay
from engage.services.retelling import Mover
from engage.services.turns import LeftBehindError, Turns
from engage.services.view_clock import ViewClock
from engage.services.waiting import Waiting
from engage.services.webhooks.managing import Webhooks
from engage.store.keys import KeyStore
from engage.store.views import ViewStore
from engage.wall_clock import utc_now as utc_now

BATCH = 1_000
_AT_ONCE_EMBEDDED = 6
"""Calls that publish at the same time: while some wait together for new keys or a commit, others are checked, sealed
and decided on."""
_APART = 0.004
"""Between two of them where several publish at a time; much less than the disk takes now and then."""
_TURN_RESTS = 0.05
"""Between two turns of desk, relay and the like: they sync files of their own, which publishing would wait for."""
_AT_ONCE = 4
"""Calls that publish to Kafka at the same time: while the brokers write one, the next is checked and sealed."""
_logger = structlog.get_logger(__name__)


class Platform:
    """Everything a process of engage has in hand; ``embedded`` and ``owner`` are None where the log is Kafka's.

    ``ticks`` takes the ticks that read models need there, without an edge, which lets nobody speak for a partition.
    ``beside`` is the process that folds the read models as long as this one works; else it folds them itself.
    """

    def __init__(
        self,
        *,
        log: Log,
        edge: Edge,
        publisher: Appender,
        embedded: EmbeddedLog | None,
        store: ViewStore,
        projector: Projector,
        desk: Desk,
        relay: Relay,
        relationships: Relationships,
        keyring: KeyStore,
        access: Access,
        webhooks: Webhooks,
        past: Past,
        letters: DeadLetters,
        rules: Configured,
        owner: Owner | None = None,
        beside: FoldedBeside | None = None,
        clock: Callable[[], datetime] = utc_now,
        ticks: Publisher | None = None,
    ) -> None:
        self.log = log
        self.edge = edge
        self.publisher = publisher
        self.embedded = embedded
        self.store = store
        self.projector = projector
        self.desk = desk
        self.relay = relay
        self.openings = Openings(log, store, publisher, clock)
        self.relationships = relationships
        self.keyring = keyring
        self.access = access
        self.trail = Trail(access.store, clock)
        self.trail_relay = TrailRelay(access.store, publisher)
        self.webhooks = webhooks
        self.past = past
        self.letters = letters
        self.rules = rules
        self.ticks = ticks
        self.erasures = Erasures(log, keyring, past.snapshots, letters.source.keep)
        self.readers = {DESK: desk.again, ERASURES: self.erasures.again, WEBHOOKS: webhooks.again}
        self.mover = Mover(embedded.log, embedded, store) if embedded is not None else None
        self.owner = owner
        self.clock = clock
        self.gathering = (
            Gathering(edge, self._append, at_once=_AT_ONCE_EMBEDDED, apart=_APART)
            if embedded
            else Gathering(edge, self._append, at_once=_AT_ONCE)
        )
        self.announcer = Announcer(store, publisher)
        self.view_clock = ViewClock(projector, ticks or publisher)
        self.waiting = Waiting(store, log.partitions)
        self.beside = beside
        self._view_dues: dict[int, datetime] = {}
        self.turns = Turns(
            log,
            {
                "clock": self._tick,
                "desk": self._desk,
                "relay": self._relay,
                "audit": self._audit,
                "erasures": self._erase,
                "identities": self._move,
                **({"projections": self.project} if beside is None else {}),
                "announcements": self.announce,
                "openings": self.openings.step,
                "webhooks": self.tell,
            },
            beside=("projections",) if beside is None else (),
            rest=_TURN_RESTS,
        )

    async def publish(
        self, events: Sequence[bytes | Event[Raw]], *, as_lived: bool = False, marker: tuple[str, int] | None = None
    ) -> list[Answer]:
        """See ``Publisher.publish``; ``as_lived`` and ``marker`` (``EmbeddedLog.publish``) need the embedded log."""
        if self.embedded is not None:
            answers = await self.embedded.publish(events, as_lived=as_lived, marker=marker)
        elif as_lived or marker:
            raise ValueError("history is loaded as it was lived into the embedded log only: leave ENGAGE_LOG empty")
        else:
            answers = await self.publisher.publish(events)
        metrics.published(answers)
        return answers

    async def _append(self, checked: Sequence[Event[Raw] | Refusal]) -> list[Answer]:
        answers = await self.publisher.append(checked)
        metrics.published(answers)
        return answers

    async def command(self, words: Sequence[Event[Raw]]) -> None:
        """Say to partitions of the log what operators want: each event to the one that its subject names."""
        if self.embedded is not None:
            await self.embedded.tell(words)
        else:
            assert self.ticks is not None, "on Kafka somebody speaks for partitions"
            await self.ticks.publish(words)

    async def work(self, now: datetime | None = None) -> int:
        """One turn of what rules and people set going: wakes, desk, relay, erasures, moves; how much was done."""
        moment = now or self.clock()
        return (
            await self._tick(moment)
            + await self._desk(moment)
            + await self._relay()
            + await _as_far_as_it_goes(self._audit())
            + await self._erase()
            + await self._move()
        )

    async def settle(self, now: datetime | None = None) -> None:
        """Work until nothing is left to do at ``now``, with every read model at the log's end."""
        while True:
            while await self.work(now):
                pass
            await self.projector.catch_up()
            self.waiting.tell()
            # What read models say, and what they were waiting for, is on the log then, and work for the others.
            announced = await _as_far_as_it_goes(self.announcer.step(BATCH))
            if not announced and not await self._tick(now):
                return

    async def project(self) -> int:
        """One turn of the read models, where this process folds them; who waits for them looks again."""
        done = await self.projector.step(BATCH)
        if done:
            self.waiting.tell()
        return done

    async def announce(self) -> int:
        """Tell the log what read models have to say and, where it is Kafka's, what time it is when they wait for it."""
        asked = 0 if self.embedded else await self.view_clock.step(self.clock())
        return asked + await self.announcer.step(BATCH)

    async def tell(self) -> int:
        """One turn of outgoing webhooks: queue what they are to hear, and send."""
        return await self.webhooks.step(BATCH)

    async def run(self, stop: asyncio.Event) -> None:
        """Work and project until ``stop`` is set; what fails is named in ``turns.troubles`` and tried again."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.turns.run(stop))
            if self.beside is not None:
                group.create_task(self.beside.run(stop, self._folded))

    def next_view_dues(self) -> dict[int, datetime]:
        """When the next row of a read model wants to be woken, by partition, as far as it is known. Blocking."""
        return self._view_dues if self.beside is not None and self.beside.pid else self.projector.next_dues()

    def _folded(self, told: Told) -> None:
        """What the process that folds beside says."""
        if told.done:
            self.waiting.tell({(name, partition): at for partition, at, names in told.moved for name in names} or None)
        for seconds in told.waited:
            metrics.viewed(seconds)
        if told.dues is not None:
            self._view_dues = told.dues
        self.turns.note("projections", told.trouble)

    async def _tick(self, now: datetime | None = None) -> int:
        if self.embedded is None:
            return 0
        return int(await self.embedded.tick(now, await asyncio.to_thread(self.next_view_dues)))

    async def _desk(self, now: datetime | None = None) -> int:
        return await self.desk.step(BATCH) + await self.desk.expire_due(now or self.clock())

    async def _erase(self) -> int:
        return await self.erasures.step(BATCH)

    async def _move(self) -> int:
        return 0 if self.mover is None else await self.mover.step()

    async def _relay(self) -> int:
        return await self.relay.step(BATCH)

    async def _audit(self) -> int:
        return await self.trail_relay.step(BATCH)


async def _as_far_as_it_goes(part: Awaitable[int]) -> int:
    """How much was done of what nothing else is to wait for, which is told if some cannot be done."""
    try:
        return await part
    except LeftBehindError as error:
        _logger.error("some of it cannot be done yet, all else goes on", why=str(error))
        return error.done
