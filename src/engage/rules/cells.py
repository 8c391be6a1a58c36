"""The engine's memory: a cell for each rule and account with its state and wakes, and the timers over all of them.

Cells stand by rule and then by account, so that whoever hears an event for a rule holds the rule's cells already: a
look-up by rule and account at once made and hashed a pair for each handler. What can be part of no cycle is hidden from
the garbage collector (``gc=False``): its share of the engine's time fell from a seventh to a twentieth.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Container, Iterable, Iterator
from datetime import datetime
from hashlib import blake2b
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

S = TypeVar("S")

CellKey = tuple[str, str]
"""Rule name and account id."""
Timer = tuple[datetime, str, str, str]
"""When it fires (UTC), account, rule, and what about: in this order they fire."""


class Armed(Struct, frozen=True, array_like=True, gc=False):
    """A wake that waits: when it is due, when it fires, and the event that armed it (id and offset).

    The two moments differ when a late event armed it: what it asks for is then as old as ``due`` says.
    """

    fires: datetime
    due: datetime
    cause_id: str
    cause_source: str
    cause_offset: int


class Parked(Struct, frozen=True, array_like=True, gc=False):
    """The rule failed on this account: from this offset on nothing of the account reaches it until it is retried."""

    offset: int
    event_id: str
    error: str


class Cell(Struct, Generic[S], omit_defaults=True, gc=False):
    """What one rule knows of one account."""

    state: S
    wakes: dict[str, Armed] = {}
    parked: Parked | None = None


class _Wakes(Struct):
    """A stored cell but for its state."""

    wakes: dict[str, Armed] = {}


Unkept = Callable[[CellKey, Exception], Parked]
"""Told of a state that cannot be written down or read back; says how the cell is parked."""

_COMPACT_FROM = 1_000
_encode = msgspec.json.Encoder().encode
_read_wakes = msgspec.json.Decoder(_Wakes).decode
_shapes: dict[type[Any], str] = {}
_HAS_WAKES, _HAS_PARKED = b'"wakes":', b'"parked":'


class RuleCells:
    """The cells of one rule by account, and which of them changed or were made since ``Cells.changes`` was asked.

    Those ``asleep`` are as they were stored, until somebody wants them. ``shape`` tells states of another shape apart.
    """

    def __init__(self, rule: str, state: type[Any], unkept: Unkept | None) -> None:
        self.decode = msgspec.json.Decoder(Cell[state]).decode  # type: ignore[valid-type]
        self.fresh = Cell(state())
        self.spare = Cell(state())
        self.by_account: dict[str, Cell[Any]] = {}
        self.asleep: dict[str, bytes] = {}
        self.changed: dict[str, None] = {}
        self.made: set[str] = set()
        self._rule = rule
        self._state = state
        self._unkept = unkept

    @property
    def shape(self) -> str:
        """A digest of what the stored cells look like."""
        shape = _shapes.get(self._state)
        if shape is None:
            schema = msgspec.json.schema(Cell[self._state])  # type: ignore[name-defined]
            digest = blake2b(msgspec.json.encode(schema, order="sorted"), digest_size=8)
            shape = _shapes[self._state] = digest.hexdigest()
        return shape

    def get(self, account: str) -> Cell[Any]:
        """The cell, made fresh if there is none; whoever changes it adds the account to ``changed``."""
        cell = self.by_account.get(account) or self.lend(account)
        if cell is self.spare:
            self.keep(account)
        return cell

    def lend(self, account: str) -> Cell[Any]:
        """The cell that sleeps, or else ``spare``, a fresh one to be kept only if it is not ``untouched``.

        Most of the cells that events find missing would be as fresh after them.
        """
        if self.asleep:
            value = self.asleep.pop(account, None)
            if value is not None:
                return self._awake(account, value)
        return self.spare

    @property
    def untouched(self) -> bool:
        """Whether the spare cell is still a fresh one."""
        spare = self.spare
        return not spare.wakes and spare.state == self.fresh.state and spare.parked is None

    def keep(self, account: str) -> None:
        """The spare cell is this account's from here on."""
        self.by_account[account] = self.spare
        self.spare = Cell(self._state())
        if account not in self.changed:  # what was dropped a moment ago is stored still
            self.made.add(account)

    def park(self, account: str, parked: Parked) -> Cell[Any]:
        """A cell without its state in place of one that cannot be kept."""
        cell = self.by_account[account] = Cell(self._state(), parked=parked)
        return cell

    def drop(self) -> None:
        """Forget them all."""
        self.changed.update(dict.fromkeys(self.by_account))
        self.changed.update(dict.fromkeys(self.asleep))
        self.by_account.clear()
        self.asleep.clear()

    def _awake(self, account: str, value: bytes) -> Cell[Any]:
        try:
            cell = self.by_account[account] = self.decode(value)
        except msgspec.MsgspecError as error:
            # The rule put something else into its state than it declares.
            if self._unkept is None:
                raise
            cell = self.park(account, self._unkept((self._rule, account), error))
            self.changed[account] = None
        return cell


class Cells:
    """All cells of a partition, what changed since it was last asked, and the timers in the order they fire.

    Stored as JSON, because that keeps a moment's UTC offset: what is read back is what was written. ``timers`` is a
    heap: nothing fires before the first of them is due, and then something may, for it may have been replaced.
    """

    def __init__(self, states: dict[str, type[Any]], unkept: Unkept | None = None) -> None:
        self.timers: list[Timer] = []
        self._compact_at = _COMPACT_FROM
        self._rules = {name: RuleCells(name, state, unkept) for name, state in states.items()}
        # Cells of rules that are no more: they are nobody's, but have to be given up.
        self._gone: set[CellKey] = set()
        self._unkept = unkept

    def of(self, rule: str) -> RuleCells:
        """The cells of ``rule``: the same object for as long as this one lives."""
        return self._rules[rule]

    def get(self, key: CellKey) -> Cell[Any]:
        """The cell, made fresh if there is none; whoever changes it calls ``touch``."""
        return self._rules[key[0]].get(key[1])

    def touch(self, key: CellKey) -> None:
        """This cell has changed."""
        rule, account = key
        if rule in self._rules:
            self._rules[rule].changed[account] = None
        else:
            self._gone.add(key)

    def arm(self, cell: Cell[Any], rule: str, account: str, about: str, armed: Armed) -> None:
        """Set a wake of the account's ``cell``; one that waits about the same is replaced."""
        fires, wakes, timers = armed.fires, cell.wakes, self.timers
        before = wakes.get(about)
        wakes[about] = armed
        if before is None or before.fires != fires:
            heapq.heappush(timers, (fires, account, rule, about))
            if len(timers) > self._compact_at:
                self._compact()

    def _compact(self) -> None:
        """Drop the timers that were replaced or forgotten: a wake that is set again and again leaves one each time.

        They are looked through and not the cells, of which there are many times more.
        """
        self.timers[:] = [timer for timer in set(self.timers) if self._waits(timer)]
        heapq.heapify(self.timers)
        self._compact_at = 2 * len(self.timers) + _COMPACT_FROM

    def next_due(self) -> datetime | None:
        """When the next wake fires, None if nothing waits."""
        timers = self.timers
        while timers:
            if self._waits(timers[0]):
                return timers[0][0]
            heapq.heappop(timers)
        return None

    def may_be_due(self, now: datetime) -> bool:
        """Whether ``pop_due`` may have something; ``next_due`` takes three times as long to say it for certain."""
        return bool(self.timers) and self.timers[0][0] <= now

    def pop_due(self, now: datetime) -> tuple[str, str, str, Cell[Any], Armed] | None:
        """Take the first wake that fires at or before ``now``: rule, account, what about, its cell, and the wake.

        Ties by account, rule, about.
        """
        timers = self.timers
        while timers and timers[0][0] <= now:
            fires, account, rule, about = heapq.heappop(timers)
            cells = self._rules[rule]
            cell = cells.by_account.get(account) or cells.lend(account)
            armed = cell.wakes.get(about)
            if armed is not None and armed.fires == fires and cell.parked is None:
                cells.changed[account] = None
                del cell.wakes[about]
                return rule, account, about, cell, armed
        return None

    def _waits(self, timer: Timer) -> bool:
        """Whether somebody waits for this timer: it was not replaced or forgotten, and the cell is not parked."""
        fires, account, rule, about = timer
        cells = self._rules[rule]
        cell = cells.by_account.get(account)
        if cell is None:
            return account in cells.asleep  # its timers are those of the wakes that were stored with it
        armed = cell.wakes.get(about)
        return armed is not None and armed.fires == fires and cell.parked is None

    def load(self, stored: Iterable[tuple[str, str, bytes]], known: Container[str] = ()) -> set[str]:
        """Put back what ``changes`` gave out: ``(rule, account, bytes)``; rules that are no more are passed over.

        The rules whose cells have another shape than today's are returned; theirs are given up, all of them. Of the
        rules in ``known`` the shape is today's: their cells are put back as they are, which takes a third of the time.
        """
        unreadable: set[str] = set()
        asleep = {name: cells.asleep for name, cells in self._rules.items() if name in known}
        timers = self.timers
        for rule, account, value in stored:
            sleeping = asleep.get(rule)
            if sleeping is not None and _HAS_PARKED not in value:
                sleeping[account] = value
                if _HAS_WAKES in value:
                    for about, armed in _read_wakes(value).wakes.items():
                        timers.append((armed.fires, account, rule, about))
                continue
            cells = self._rules.get(rule)
            if cells is not None:
                try:
                    cell = cells.by_account[account] = cells.decode(value)
                except msgspec.MsgspecError:
                    unreadable.add(rule)
                    cells.changed[account] = None
                    continue
                for about, armed in cell.wakes.items():
                    timers.append((armed.fires, account, rule, about))
        heapq.heapify(timers)
        for rule in unreadable:
            self.drop(rule)
        return unreadable

    def drop(self, rule: str) -> None:
        """Forget all cells of ``rule``."""
        self._rules[rule].drop()

    def changes(self) -> Iterator[tuple[str, str, bytes | None]]:
        """Each cell changed since the last call as ``(rule, account, bytes)``; None where nothing is left to keep.

        Rule by rule, in the order in which they changed first.
        """
        gone: dict[str, set[str]] = {}
        for rule, account in self._gone:
            gone.setdefault(rule, set()).add(account)
        for rule in sorted(self._rules.keys() | gone.keys()):
            cells = self._rules.get(rule)
            if cells is None:
                yield from ((rule, account, None) for account in sorted(gone[rule]))
            elif cells.changed:
                yield from self._changes_of(rule, cells)
        self._gone.clear()

    def _changes_of(self, rule: str, cells: RuleCells) -> Iterator[tuple[str, str, bytes | None]]:
        by_account, fresh, made = cells.by_account, cells.fresh, cells.made
        for account in cells.changed:
            cell = by_account.get(account)
            if cell is None or cell == fresh:
                by_account.pop(account, None)
                if account not in made:  # one that never held anything was never stored
                    yield rule, account, None
            else:
                try:
                    value = _encode(cell)
                except Exception as error:
                    if self._unkept is None:
                        raise
                    value = _encode(cells.park(account, self._unkept((rule, account), error)))
                yield rule, account, value
        cells.changed.clear()
        made.clear()

    def adopt(self, rule: str, other: Cells) -> None:
        """Replace all cells of ``rule`` by those of ``other``."""
        self.drop(rule)
        ours = self._rules[rule]
        for account, cell in other._rules[rule].by_account.items():
            ours.by_account[account] = cell
            ours.changed[account] = None
            for about, armed in cell.wakes.items():
                heapq.heappush(self.timers, (armed.fires, account, rule, about))

    def adopt_one(self, rule: str, account: str, other: Cells) -> None:
        """Replace the cell of one account by a copy of that of ``other``, which goes on."""
        ours, theirs = self._rules[rule], other._rules[rule].by_account.get(account)
        ours.asleep.pop(account, None)
        ours.by_account.pop(account, None)
        ours.changed[account] = None
        if theirs is not None:
            try:
                cell = ours.by_account[account] = ours.decode(_encode(theirs))
            except Exception as error:  # whatever a rule has put there, or its types raise
                if self._unkept is None:
                    raise
                cell = ours.park(account, self._unkept((rule, account), error))
            for about, armed in cell.wakes.items():
                heapq.heappush(self.timers, (armed.fires, account, rule, about))

    def parked(self) -> Iterator[tuple[CellKey, Parked]]:
        """Every rule and account that waits for somebody to look at a failure."""
        return (
            ((rule, account), cell.parked)
            for rule, cells in self._rules.items()
            for account, cell in cells.by_account.items()
            if cell.parked
        )

    def __len__(self) -> int:
        return sum(len(cells.by_account) + len(cells.asleep) for cells in self._rules.values())
