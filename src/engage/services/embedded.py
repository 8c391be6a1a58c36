"""Everything in one process: appending is intake, and what it sets going is committed in the same transaction."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import structlog
from msgspec import Raw

from engage.events import linking
from engage.events.envelope import EPOCH, PARTITION_SUBJECT, Event
from engage.events.linking import Links, follows
from engage.events.validation import Fault, Refusal
from engage.interpreter import give_back
from engage.log.contract import Answer, Duplicate, Record, Taken, Token
from engage.log.partitioning import Homes
from engage.log.sqlite import SqliteLog, Writes
from engage.log.sqlite_seen import Identity
from engage.rules.cell import CellKey
from engage.rules.engine import Engine
from engage.rules.mending import WORDS, consumer_of
from engage.rules.policy import NAME as POLICY
from engage.rules.policy import PolicySettings
from engage.rules.rule import Rule
from engage.services import metrics, tracing
from engage.services.committing import Committing
from engage.services.edge import Edge
from engage.services.intake import Stamp
from engage.services.kept_cells import ALL, Kept, kept
from engage.services.partition_runner import PartitionRunner
from engage.services.past_ahead import BIT, folded_ahead

QUIET = timedelta(seconds=1)
"""How long after the last event everything is written down: it takes tens of milliseconds, and then nobody waits."""
FAILED = "failed"
"""The class of the dead letters of rules."""
_logger = structlog.get_logger(__name__)


class EmbeddedLog:
    """The publisher over a ``SqliteLog``: checks, seals, stamps, de-duplicates, appends and runs the rules.

    One process owns it. ``publish`` answers when everything is durable; while it reaches the disk, what comes next is
    taken in behind it. A commit that fails changes nothing, and none that was begun behind it does: what the engines
    have folded since is given up, and read back from the file before anything else is done.
    """

    def __init__(
        self,
        log: SqliteLog,
        edge: Edge,
        rules: Sequence[Rule[Any, Any]],
        policy: PolicySettings,
        clock: Callable[[], datetime],
    ) -> None:
        self.log = log
        self._homes = Homes(log.partitions)
        self._edge = edge
        self._rules = rules
        self._policy = policy
        self._clock = clock
        self._runners: list[PartitionRunner] = []
        self._kept: dict[int, Kept] = {}
        self._quiet = False
        self._took = EPOCH
        self._relinked: list[tuple[str, str | None]] = []
        self._moves: dict[tuple[int, int], int | None] = {}
        self.links = Links()
        self._stopped: set[tuple[int, CellKey]] = set()
        self._committing = Committing[Writes](lambda several: log.commit(*several), self._give_up)
        self._under_way: list[dict[Identity, Token]] = []
        self._holding = asyncio.Lock()

    async def start(self) -> None:
        """Take up what the last owner left."""
        self._runners = []
        await self._ready()
        await self._commit({}, None)

    async def close(self) -> None:
        """Wait until what was begun is on the log."""
        await self._committing.close()

    async def publish(
        self,
        events: Sequence[bytes | Event[Raw]],
        *,
        as_lived: bool = False,
        marker: tuple[str, int] | None = None,
    ) -> list[Answer]:
        """See ``Publisher.publish``. Who publishes meanwhile is taken behind it, while this reaches the disk.

        ``as_lived`` is for operators who load history sorted by ``time``: ``recorded`` follows ``time`` instead of the
        clock. ``marker`` (a name and how far an import has come) is stored in the same transaction.
        """
        return await self.append(await self._edge.take(events), as_lived=as_lived, marker=marker)

    async def append(
        self,
        checked: Sequence[Event[Raw] | Refusal],
        *,
        as_lived: bool = False,
        marker: tuple[str, int] | None = None,
    ) -> list[Answer]:
        """See ``Appender.append`` and ``publish``."""
        proper = [event for event in checked if isinstance(event, Event)]
        words = [event for event in proper if event.type in WORDS]
        if words:
            await self._past_is_there((self._homes[word.subject], word) for word in words)
        else:
            await self._ready()
        identities = [(event.subject, event.source, event.id) for event in proper]
        known = self._known(identities)
        fresh: dict[Identity, Token] = {}
        answers: list[Answer] = []
        now = self._took = self._clock()
        began = tracing.began()
        with self._all_or_nothing():
            for word in words:
                self._runners[self._homes[word.subject]].expect((word,))
            identity_of_next = iter(identities).__next__
            for event in checked:
                if not isinstance(event, Event):
                    answers.append(event)
                    continue
                identity = identity_of_next()
                if (before := fresh.get(identity)) or (known and (before := known.get(identity))):
                    answers.append(Duplicate(before))
                elif event.source == linking.SOURCE and (why := self.links.refuses(event)) is not None:
                    answers.append(Refusal("data", (Fault("/data", why),)))
                else:
                    appended = min(event.time, now) if as_lived else now
                    token = fresh[identity] = self._admit(event, appended, as_lived)
                    answers.append(Taken(token))
            committed = self._commit(fresh, marker, lived=as_lived)
        decided = await committed
        if began:
            pairs = zip(checked, answers, strict=True)
            tracing.record(
                "engage intake",
                began,
                (one for one, answer in pairs if isinstance(one, Event) and isinstance(answer, Taken)),
            )
            tracing.decided(began, decided)
        return answers

    async def retell(self, events: Sequence[Event[Raw]], place: tuple[int, int], moved: int | None) -> None:
        """Tell once more what is on the log, of the accounts where it belongs now.

        The move that began at ``place`` has then come to before ``moved``, or is done (None).
        """
        await self._ready()
        now = self._clock()
        with self._all_or_nothing():
            homes = [(event, self.links.home(event.origin or event.subject)) for event in events]
            for copy in self._edge.copies(homes, retold=True):
                self._append(copy, now)
            self._moves[place] = moved
            committed = self._commit({}, None)
        await committed

    def _admit(self, event: Event[Raw], appended: datetime, as_lived: bool) -> Token:
        """Intake of one event, and of its copy where its account is linked to another."""
        if event.source == linking.SOURCE:
            self._relink(event, appended)
        elif self.links and (holder := self.links.holder(event.subject)) is not None:
            event.linkedto = holder
        token = self._append(event, appended, as_lived)
        if event.type in linking.BEGINS_ANEW:
            self._moves[token.partition, token.offset] = 0
        if event.linkedto is not None and follows(event):
            [copy] = self._edge.copies([(event, event.linkedto)], retold=False)
            self._append(copy, appended, as_lived)
        return token

    def _append(self, event: Event[Raw], appended: datetime, as_lived: bool = False) -> Token:
        runner = self._runners[self._homes[event.subject]]
        token = runner.admit(event, appended, as_lived=as_lived)
        assert token is not None, "only a tick is dropped, and the edge lets none in"
        return token

    def _relink(self, event: Event[Raw], appended: datetime) -> None:
        """Take in who belongs to whom; what was due before is decided before."""
        runner = self._runners[self._homes[event.subject]]
        runner.tick(appended)
        self.links.fold(event)
        self._relinked += linking.said(event).items()

    async def tell(self, words: Sequence[Event[Raw]]) -> None:
        """Put what operators say to partitions on the log, each event on the partition that its subject names.

        One after the other, as each partition hears of it by itself, so that nobody who publishes waits for all.
        """
        for word in words:
            partition = int(word.subject.removeprefix(PARTITION_SUBJECT))
            await self._past_is_there([(partition, word)])
            with self._all_or_nothing():
                self._runners[partition].admit(word, self._clock())
                committed = self._commit({}, None)
            await committed

    async def activate(self, now: datetime | None = None) -> None:
        """Put rules that changed on a long log, their past folded ahead: who publishes is taken in meanwhile."""
        await self._ready()
        moment = now or self._clock()
        for partition in [runner.partition for runner in self._runners if runner.postponed]:
            await self._past_is_there((partition, word) for word in self._runners[partition].activations(moment))
            with self._all_or_nothing():
                self._runners[partition].postponed = False
                self._runners[partition].tick(moment)
                committed = self._commit({}, None)
            await committed

    async def tick(self, now: datetime | None = None, views_due: Mapping[int, datetime] | None = None) -> bool:
        """Let the log say what time it is where a wake is due and nothing arrived; whether anything was due.

        ``views_due`` is when read models want to be woken, by partition.
        """
        moment = now or self._clock()
        if self._quiet and moment - self._took >= QUIET:
            await self.keep()
        self._quiet = True
        await self.activate(moment)
        with self._all_or_nothing():
            ticked = [runner.tick(moment, (views_due or {}).get(runner.partition)) for runner in self._runners]
            committed = self._commit({}, None) if any(ticked) else None
        if committed is not None:
            await committed
        return any(ticked)

    async def keep(self) -> None:
        """Write down what the engines hold and what the log has not indexed yet, so that the next start is quick.

        A little at a time, and where somebody publishes meanwhile, it goes on when that is quiet: all cells at once
        held up for a tenth of a second who came just then, and indexing would never come to an end.
        """
        await self._ready()
        self._quiet = True
        for share in ALL:
            if not self._quiet:
                return
            await self._ready()
            if any(self._kept[one.partition].shares[share] < one.engine.position for one in self._runners):
                with self._all_or_nothing():
                    committed = self._commit({}, None, keeping=(share,))
                self._quiet = True
                await committed
        while self._quiet and await self._committing.behind(self.log.index_some):
            continue

    async def rest(self) -> None:
        """Write everything down and let the engines go; they come back from the file when they are needed again.

        What memory that was the system gets back.
        """
        await self.keep()
        self._runners = []
        self.log.shrink()
        give_back()

    def next_due(self) -> datetime | None:
        """When the next wake is due, None if none waits."""
        return min((due for runner in self._runners if (due := runner.engine.cells.next_due())), default=None)

    def count_parked(self) -> None:
        """Tell the metrics who is parked; of those that ever were here, for there may be a million cells."""
        for runner in self._runners:
            cells, rules = runner.engine.cells, [*runner.engine.rules, POLICY]
            ours = [key for partition, key in self._stopped if partition == runner.partition and key[0] in rules]
            metrics.parked(runner.partition, rules, [key for key in ours if cells.is_parked(key)])

    async def _ready(self) -> None:
        """Have engines that are as what was begun leaves the log. Nobody may wait between this and what they do."""
        while self._holding.locked():  # a word waits for the log to be quiet, which it would never be by itself
            async with self._holding:
                pass
        await self._engines_are_there()

    async def _engines_are_there(self) -> None:
        await self._committing.sound()
        while not self._runners:
            await self._committing.ended()
            if not self._runners:
                if self.log.claim():
                    _logger.error("another process has written to the log: what it wrote is read, and this one goes on")
                self._recall_links()
                with _no_collection():
                    self._runners = [self._runner(partition) for partition in range(self.log.partitions)]

    def _recall_links(self) -> None:
        self._relinked, self._moves = [], {}
        self.links = Links(self.log.links().items())

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Whatever fails in the block, the engines are not used again."""
        try:
            yield
        except BaseException:
            self._give_up()
            raise

    async def _past_is_there(self, words: Iterable[tuple[int, Event[Raw]]]) -> None:
        """Have all that was begun on the log, and what words, each with its partition, need of it; then as ``_ready``.

        Others are taken in while the past is folded; only when that is done they wait until all is on the log.
        """
        await self._ready()
        by_partition: dict[int, list[Event[Raw]]] = {}
        for partition, word in words:
            by_partition.setdefault(partition, []).append(word)
        runners = self._runners
        ahead = {at: await folded_ahead(self.log, runners[at], told) for at, told in by_partition.items()}
        async with self._holding:
            await self._committing.ended()
            await self._engines_are_there()
        for partition, known in ahead.items():
            if known is not None:
                self._runners[partition].know(known.skips, known.pasts)

    def _give_up(self) -> None:
        self._runners = []

    def _known(self, identities: Sequence[Identity]) -> dict[Identity, Token]:
        """Where they stand, for those that are on the log or on their way to it."""
        known = self.log.find(identities)
        for fresh in self._under_way:
            known.update((identity, fresh[identity]) for identity in fresh.keys() & identities)
        return known

    def _runner(self, partition: int) -> PartitionRunner:
        def past(end: int) -> Iterable[Record]:
            return self.log.scan(partition, end=end)

        engine = Engine(partition, self._rules, self._policy)
        stamp = Stamp(partition, self.log.last_recorded(partition))

        def since(position: int) -> Iterable[Record]:
            return self.log.scan(partition, position)

        runner = PartitionRunner(engine, stamp, self.log.end_now(partition), past, since)
        state = self.log.engine_state(partition)
        runner.resume(state.position, state.basis, state.cells, state.shares)
        runner.postponed = runner.end > BIT and any(map(runner.past_for, runner.activations(EPOCH)))
        # After a fold of the tail everything is written down: what was decided and given up on the way is in it.
        basis = {} if state.position < runner.end else dict(engine.basis)
        self._kept[partition] = kept(state.shares, state.position, basis)
        self._stopped.update((partition, key) for key, _ in engine.cells.parked())
        return runner

    def _commit(
        self,
        identities: dict[Identity, Token],
        marker: tuple[str, int] | None,
        *,
        lived: bool = False,
        keeping: Collection[int] = (),
    ) -> Awaitable[list[Event[Any]]]:
        """Begin to commit all the runners have; the engines' cells only where they are due, or of shares ``keeping``.

        Who awaits it is told what was decided, when that is committed, and everything before it.
        """
        self._quiet = False
        writes = Writes(identities=identities, marker=marker, links=list(self._relinked), moves=dict(self._moves))
        self._relinked.clear()
        self._moves.clear()
        told: list[tuple[list[Record], list[Event[Any]], int]] = []
        longest, shares = self._due(lived)
        for runner in self._runners:
            partition, engine = runner.partition, runner.engine
            was = self._kept[partition]
            # What fails and what operators say is kept with what it did, so that no fold of the tail meets it again.
            acted = engine.failures or engine.mended or engine.basis != was.basis
            writes.settled += [(partition, consumer_of(rule), account) for rule, account in engine.mended]
            writes.settled += [(partition, consumer_of(rule), None) for rule in engine.renewed]
            due = ALL if acted else keeping or (shares if partition == longest else ())
            if due and engine.position > min(was.shares[share] for share in due):
                writes.cells += [(partition, *cell) for cell in engine.cells.changes(None if due is ALL else due)]
                was.keep(due, engine.position, engine.basis)
                writes.engines[partition] = (was.shares[:], runner.basis())
            records = runner.taken()
            if records:
                writes.records += records
                writes.ends[partition] = (runner.end, runner.stamp.last)
            writes.dead_letters += [
                (
                    consumer_of(failure.rule),
                    failure.account,
                    partition,
                    failure.offset,
                    failure.event_id,
                    failure.traceback,
                )
                for failure in engine.failures
            ]
            if records:
                told.append((records, runner.decided(), len(engine.failures)))
            self._stopped.update((partition, (one.rule, one.account)) for one in engine.failures)
            engine.failures.clear()
            engine.mended.clear()
            engine.renewed.clear()
        if not (writes.records or writes.engines or marker or writes.moves):
            return self._nothing_new()
        self._under_way.append(identities)
        begun = self._committing.begin(writes)
        begun.add_done_callback(lambda _: self._under_way.remove(identities))
        return self._durable(begun, told, lived=lived)

    async def _nothing_new(self) -> list[Event[Any]]:
        await self._committing.committed()
        return []

    async def _durable(
        self,
        begun: asyncio.Future[None],
        told: Sequence[tuple[list[Record], list[Event[Any]], int]],
        *,
        lived: bool,
    ) -> list[Event[Any]]:
        await asyncio.shield(begun)
        self.log.grown()
        # Once for all partitions: to count takes as long as to check an event.
        count = sum(len(records) for records, _, _ in told)
        decisions = [decision for _, decided, _ in told for decision in decided]
        oldest = min((records[0].recorded for records, decided, _ in told if decided), default=None)
        metrics.taken(count, ())
        metrics.folded(count, decisions, [FAILED] * sum(failed for _, _, failed in told), None if lived else oldest)
        return decisions

    def _due(self, lived: bool) -> tuple[int, Collection[int]]:
        """The partition of which nothing was written down for longest, and what is due of it: one a commit."""
        stands = {runner.partition: runner.engine.position for runner in self._runners}
        longest = max(stands, key=lambda partition: self._kept[partition].behind(stands[partition], lived=lived))
        return longest, self._kept[longest].due(stands[longest], lived=lived)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without garbage collection: reading back 150,000 cells takes 0.4 s so, and 1.4 s with it, and none is garbage."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
