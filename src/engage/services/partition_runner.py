"""The one place that drives intake and rules over a partition; every way to run engage is a shell around it.

It does no I/O: events go in, log records come out, and the shell commits them together with what the engine changed.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import msgspec
from msgspec import Raw

from engage.events import codec
from engage.events.catalogue.rule import RuleActivated
from engage.events.envelope import PARTITION_SUBJECT, Event
from engage.events.shares import share_of
from engage.log.contract import Record, Token
from engage.rules.deciding import Basis
from engage.rules.decisions import TYPES as DECISIONS
from engage.rules.engine import ACTIVATED, DISABLED, ENABLED, TOLD, Engine
from engage.rules.mending import WORDS, is_word, opened
from engage.services.intake import Stamp, tick
from engage.services.records import events_of
from engage.services.rule_past import RulePast, Skips

TICK_LATENESS = timedelta(hours=1)
"""History as it was lived: a wake that would fire later than this behind its time is given a tick of its own."""

read_basis = msgspec.msgpack.Decoder(dict[str, Basis]).decode
"""What ``PartitionRunner.basis`` gave."""


class DecidedBefore(Protocol):
    """What was decided before an engine lost its state, for its fold of the same records."""

    async def at(self, offset: int) -> Sequence[Event[Any]] | None:
        """The decisions made at a record, typed; None where no decision was made at it or behind: it is to decide."""
        ...

    @property
    def words(self) -> Sequence[Event[Any]]:
        """What operators said by which rules go on with accounts, typed; all there is once ``at`` has answered None."""
        ...


class Past(Protocol):
    """All records of a partition before ``end``, from ``start`` on, read bit by bit."""

    def __call__(self, end: int, start: int = 0) -> AsyncIterable[Sequence[Record]]: ...


class PartitionRunner:
    """Intake and rules of one partition.

    ``past`` gives the partition's committed records before an offset; it is asked only when a rule is new or changed.
    ``since`` gives those from an offset on, for an engine that is behind the log; else ``past`` is passed over.
    While it is ``postponed``, no rule is activated: whoever sets that folds the past ahead.
    """

    def __init__(
        self,
        engine: Engine,
        stamp: Stamp,
        end: int,
        past: Callable[[int], Iterable[Record]],
        since: Callable[[int], Iterable[Record]] | None = None,
    ) -> None:
        self.engine = engine
        self.partition = engine.partition
        self.stamp = stamp
        self.end = end
        self._past = past
        self._since = since
        self._uncommitted: list[Record] = []
        self._decided: list[Event[Any]] = []
        self.postponed = False
        self._inactive = engine.activations()
        self._skips = Skips()
        self._pasts: dict[str, RulePast] = {}

    def admit(self, event: Event[Any], appended: datetime, *, as_lived: bool = False) -> Token | None:
        """Intake of one event: stamp it, fold it, and admit what was decided on it; None for a tick of the past.

        Rules that are new or changed since the log's last record are activated before it. ``as_lived``: wakes that were
        due well before ``appended`` fire first, each by a tick at its own time.
        """
        if self._inactive:
            self._activate(appended)
        if as_lived:
            while (due := self.engine.cells.next_due()) and due < appended - TICK_LATENESS:
                self._append(tick(self.partition, due), due)
        return self._append(event, appended)

    def activations(self, now: datetime) -> list[Event[Any]]:
        """What puts the rules that are new or changed on the log, behind its end as it is."""
        return [activated(one, self.partition, self.end, now) for one in self._inactive]

    def tick(self, now: datetime, view_due: datetime | None = None) -> bool:
        """If a wake is due at or before ``now``, let the log say so; whether anything was added to the log.

        ``view_due`` is when a read model wants to be woken: it hears of it by the same tick.

        A rule that is new or changed since the log's last record is activated first: only then its wakes are known.
        """
        before = self.end
        if self.end > 0:
            self._activate(now)
        waiting = [due for due in (self.engine.cells.next_due(), view_due) if due is not None and due <= now]
        if waiting:
            self._append(tick(self.partition, max(waiting)), now)
        return self.end > before

    def fold(self, records: Iterable[Record]) -> list[Event[Any]]:
        """Rules alone, over records that somebody else's intake appended; what was decided, in order."""
        decided: list[Event[Any]] = []
        for event in events_of(records):
            decided += self._fold(event)
        return decided

    async def follow(
        self,
        events: Sequence[Event[Any]],
        past: Past,
        before: DecidedBefore | None = None,
    ) -> list[Event[Any]]:
        """As ``fold``, for a shell that reads the log bit by bit: ``past`` gives all records before an offset.

        ``before``: what the log holds as decided at these events is not decided again.
        """
        fold, decided = self.engine.fold, []
        told = not TOLD.isdisjoint([event.type for event in events])  # asked once: at most batches nothing is
        if told:
            self.expect(events)
        for event in events:
            known = None if before is None else await before.at(event.offset)
            if known is not None:
                decided += fold(event, silent=True, known=known)
            else:
                if before is not None:
                    for word in before.words:
                        self.engine.hushed.add(word)
                    before = None
                if found := fold(event):
                    decided += _in_trace(event, found)
            if told and event.type in TOLD:
                await self._followed(event, past)
        self._pasts.clear()
        return decided

    def expect(self, events: Iterable[Event[Any]]) -> None:
        """These will be admitted, or followed, together: a rule's past is folded once for all of them."""
        for event in events:
            if event.type in WORDS and is_word(event):
                self._skips.note(event)

    async def _followed(self, event: Event[Any], past: Past) -> None:
        word, alone = self._past_for(event)
        if alone is not None:
            if self._skips.position < event.offset:
                async for records in past(event.offset, self._skips.position):
                    self._skips.look(records, event.offset)
            alone = self._known_past(alone, event)
            if alone.position < event.offset:
                async for records in past(event.offset, alone.position):
                    alone.fold(records)
        self._told(word, alone)

    def taken(self) -> list[Record]:
        """The records admitted since the last call, for the shell to commit."""
        self._pasts.clear()
        records, self._uncommitted = self._uncommitted, []
        return records

    def decided(self) -> list[Event[Any]]:
        """What was decided on records that were admitted since the last call; ``taken`` has them among its records."""
        decided, self._decided = self._decided, []
        return decided

    def basis(self) -> bytes:
        """The engine's basis as the shell stores it beside cells and position."""
        return msgspec.msgpack.encode(self.engine.basis)

    def resume(
        self, position: int, basis: bytes, cells: Iterable[tuple[str, str, bytes]], shares: Sequence[int] = ()
    ) -> None:
        """Take up what was stored, and fold the log from there to its end.

        ``shares`` are, where some are further than ``position``, what the cells of each share of the accounts are a
        fold up to: what these hold already is passed over.
        Up to the last record at which the log holds a decision, the policy is fed with those decisions; what comes
        after was never decided, and is decided now: the decisions wait to be taken with ``taken``.
        """
        self.engine.resume(read_basis(basis), position, cells)
        if self.engine.position < self.end:
            # An engine that has given everything up folds everything anew.
            self._catch_up(self.engine.position, shares if self.engine.position == position else ())
        self._inactive = self.engine.activations()

    def _catch_up(self, position: int, shares: Sequence[int]) -> None:
        known: dict[int, list[Event[Any]]] = {}
        # What was decided at a record stands behind it.
        for event in events_of(self._from(position)):
            if event.type in DECISIONS and not event.is_copy:
                if (decision := opened(event)) is not None:
                    known.setdefault(decision.data.decided_at, []).append(decision)
            elif is_word(event) and (word := opened(event)) is not None:
                self.engine.hushed.add(word)
        until = max(known, default=-1)
        decided: list[Event[Any]] = []
        for event in events_of(self._from(position)):
            offset = event.offset
            silent, made = offset <= until, known.get(offset, [])
            if shares:
                made = [decision for decision in made if offset >= shares[share_of(decision.subject)]]
                if offset < shares[share_of(event.subject)]:
                    event = _passing(event)
            decided += self._fold(event, silent=silent, known=made)
        self._decided += decided
        for decision in decided:
            self._append(decision, self.stamp.last)

    def _activate(self, appended: datetime) -> None:
        while self._inactive and not self.postponed:
            activation = self._inactive.pop(0)
            self._append(activated(activation, self.partition, self.end, appended), appended)

    def _append(self, event: Event[Any], appended: datetime) -> Token | None:
        if not self.stamp.put(event, appended):
            return None
        partition, offset = self.partition, self.end
        value = codec.encode(event)
        event.partition, event.offset = partition, offset
        self.end = offset + 1
        self._uncommitted.append(Record(partition, offset, event.recorded, value))
        decided = self._fold(event)
        if decided:
            self._decided += decided
            for decision in _in_trace(event, decided):
                self._append(decision, appended)
        return Token(partition, offset)

    def _fold(self, event: Event[Any], *, silent: bool = False, known: Sequence[Event[Any]] = ()) -> list[Event[Any]]:
        decided = self.engine.fold(event, silent, known)
        if event.type in TOLD:
            word, alone = self._past_for(event)
            if alone is not None:
                self._skips.look(self._before(event.offset, self._skips.position), event.offset)
                alone = self._known_past(alone, event)
                alone.fold(self._before(event.offset, alone.position))
            self._told(word, alone)
        return decided

    def past_for(self, told: Event[Any]) -> RulePast | None:
        """The past, yet to be folded, of the rule that needs it for what is told here; None if none does."""
        word = opened(told)
        if word is None:
            return None
        engine, past = self.engine, None
        if is_word(word):
            name = engine.to_mend(word)
            return None if name is None else RulePast(name, engine.alone(name))
        if word.type == ACTIVATED:
            past = engine.predecessor(word.data)
        elif word.type == ENABLED:
            past = engine.past_of(word)
        return None if past is None else RulePast(word.data.rule, past)

    def know(self, skips: Skips, pasts: Iterable[RulePast]) -> None:
        """These were folded from the log ahead of what is admitted next."""
        if skips.position > self._skips.position:
            self._skips = skips
        self._pasts.update((past.name, past) for past in pasts)

    def _past_for(self, event: Event[Any]) -> tuple[Event[Any] | None, RulePast | None]:
        """What the log tells the engine, typed (None: it cannot be read), and the rule whose past is needed for it."""
        word = opened(event)
        if word is None or (word.type in WORDS and word.is_copy):
            return None, None
        if word.type in WORDS:
            self._skips.note(word)
        return word, self.past_for(word)

    def _known_past(self, alone: RulePast, event: Event[Any]) -> RulePast:
        """The past of the same rule as far as it was folded before, if nothing else is to be passed over."""
        passed = self._skips.of(alone.name, event.subject, event.offset)
        known = self._pasts.pop(alone.name, None)
        if known is None or known.passed != passed:
            known = RulePast(alone.name, alone.engine, passed)
        if event.type in WORDS:  # what an activation was fed with becomes the engine's own
            self._pasts[alone.name] = known
        return known

    def _told(self, word: Event[Any] | None, alone: RulePast | None) -> None:
        """Do what the log tells the engine at this record; ``alone`` is fed with all records before it."""
        engine = self.engine
        if word is None:
            return
        if word.type == ACTIVATED:
            engine.activate(word, alone.engine if alone else None)
            return
        if alone is not None:
            alone.fold_event(word)
        if word.type == DISABLED:
            engine.disable(word)
        elif word.type == ENABLED:
            engine.enable(word, alone.engine if alone else None)
        elif alone is not None:
            engine.mend(word, alone.name, alone.engine, alone.closed(word.subject))

    def _before(self, end: int, start: int) -> Iterator[Record]:
        """Every record before ``end`` from ``start`` on, those that wait for their commit included."""
        first = min(self._uncommitted[0].offset if self._uncommitted else end, end)
        if start < first:
            committed = self._past(first) if self._since is None or start == 0 else self._since(start)
            yield from (record for record in committed if start <= record.offset < first)
        yield from (record for record in self._uncommitted if start <= record.offset < end)

    def _from(self, position: int) -> Iterator[Record]:
        if self._since is not None:
            return iter(self._since(position))
        return (record for record in self._past(self.end) if record.offset >= position)


def _in_trace(event: Event[Any], decided: list[Event[Any]]) -> list[Event[Any]]:
    """The decisions, those that the event itself caused in its trace."""
    if event.traceparent is not None:
        for decision in decided:
            if decision.causationid == event.id:
                decision.traceparent = event.traceparent
    return decided


def _passing(event: Event[Any]) -> Event[Any]:
    """The time of a record and nothing else of it, for whom all else is in their cells: others were woken at it."""
    passing = tick(event.partition, event.now)
    passing.recorded, passing.partition, passing.offset = event.recorded, event.partition, event.offset
    return passing


def activated(activation: RuleActivated, partition: int, offset: int, time: datetime) -> Event[Raw]:
    """The event that puts an activation on the log, wanted by an engine that stands at ``offset``."""
    return codec.new_event(
        activation,
        id=f"activation:{partition}:{activation.rule}:{activation.rule_version}:{offset}",
        source="engage/rules",
        subject=f"{PARTITION_SUBJECT}{partition}",
        time=time,
    )
