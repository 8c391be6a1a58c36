"""The engine's memory: a cell for each rule and account with its state and wakes, and the timers over all of them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

S = TypeVar("S")

CellKey = tuple[str, str]
"""Rule name and account id."""


class Armed(Struct, frozen=True, array_like=True):
    """A wake that waits: when it is due, when it fires, and the event that armed it (id and offset).

    The two moments differ when a late event armed it: what it asks for is then as old as ``due`` says.
    """

    fires: datetime
    due: datetime
    cause_id: str
    cause_source: str
    cause_offset: int


class Parked(Struct, frozen=True, array_like=True):
    """The rule failed on this account: from this offset on nothing of the account reaches it until it is retried."""

    offset: int
    event_id: str
    error: str


class Cell(Struct, Generic[S], omit_defaults=True):
    """What one rule knows of one account."""

    state: S
    wakes: dict[str, Armed] = {}
    parked: Parked | None = None


Unkept = Callable[[CellKey, Exception], Parked]
"""Told of a state that cannot be written down; says how the cell is parked."""

_COMPACT_FROM = 1_000


class Cells:
    """All cells of a partition, what changed since it was last asked, and the timers in the order they fire.

    Stored as JSON, because that keeps a moment's UTC offset: what is read back is what was written.
    """

    def __init__(self, states: dict[str, type[Any]], unkept: Unkept | None = None) -> None:
        self._states = states
        self._unkept = unkept
        self._decoders = {name: msgspec.json.Decoder(Cell[state]) for name, state in states.items()}  # type: ignore[valid-type]
        self._fresh = {name: Cell(state()) for name, state in states.items()}
        self._cells: dict[CellKey, Cell[Any]] = {}
        self._timers: list[tuple[datetime, str, str, str]] = []
        self._changed: set[CellKey] = set()
        self._made: set[CellKey] = set()
        self._compact_at = _COMPACT_FROM

    def get(self, key: CellKey) -> Cell[Any]:
        """The cell, made fresh if there is none; whoever changes it calls ``touch``."""
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = Cell(self._states[key[0]]())
            if key not in self._changed:  # what was dropped a moment ago is stored still
                self._made.add(key)
        return cell

    def touch(self, key: CellKey) -> None:
        """This cell has changed."""
        self._changed.add(key)

    def arm(self, key: CellKey, about: str, armed: Armed) -> None:
        """Set a wake; one that waits about the same is replaced."""
        self._cells[key].wakes[about] = armed
        heapq.heappush(self._timers, (armed.fires, key[1], key[0], about))
        if len(self._timers) > self._compact_at:
            self._compact()

    def _compact(self) -> None:
        """Drop the timers that were replaced or forgotten: a wake that is set again and again leaves one each time."""
        self._timers = [
            (armed.fires, account, rule, about)
            for (rule, account), cell in self._cells.items()
            for about, armed in cell.wakes.items()
        ]
        heapq.heapify(self._timers)
        self._compact_at = 2 * len(self._timers) + _COMPACT_FROM

    def next_due(self) -> datetime | None:
        """When the next wake fires, None if nothing waits."""
        timers = self._timers
        while timers:
            fires, account, rule, about = timers[0]
            cell = self._cells.get((rule, account))
            armed = cell.wakes.get(about) if cell and not cell.parked else None
            if armed and armed.fires == fires:
                return fires
            heapq.heappop(timers)
        return None

    def pop_due(self, now: datetime) -> tuple[CellKey, str, Armed] | None:
        """Take the first wake that fires at or before ``now``: ties by account, rule, about."""
        fires = self.next_due()
        if fires is None or fires > now:
            return None
        _, account, rule, about = heapq.heappop(self._timers)
        key = (rule, account)
        armed = self._cells[key].wakes.pop(about)
        self._changed.add(key)
        return key, about, armed

    def load(self, stored: Iterable[tuple[str, str, bytes]]) -> set[str]:
        """Put back what ``changes`` gave out: ``(rule, account, bytes)``; rules that are no more are passed over.

        The rules whose cells have another shape than today's are returned; theirs are given up, all of them.
        """
        unreadable: set[str] = set()
        for rule, account, value in stored:
            if rule in self._decoders:
                try:
                    cell = self._cells[rule, account] = self._decoders[rule].decode(value)
                except msgspec.MsgspecError:
                    unreadable.add(rule)
                    self._changed.add((rule, account))
                    continue
                self._timers.extend((armed.fires, account, rule, about) for about, armed in cell.wakes.items())
        heapq.heapify(self._timers)
        for rule in unreadable:
            self.drop(rule)
        return unreadable

    def drop(self, rule: str) -> None:
        """Forget all cells of ``rule``."""
        for key in [key for key in self._cells if key[0] == rule]:
            del self._cells[key]
            self._changed.add(key)

    def changes(self) -> Iterator[tuple[str, str, bytes | None]]:
        """Each cell changed since the last call as ``(rule, account, bytes)``; None where nothing is left to keep."""
        for key in sorted(self._changed):
            cell = self._cells.get(key)
            if cell is None or cell == self._fresh[key[0]]:
                self._cells.pop(key, None)
                if key not in self._made:  # one that never held anything was never stored
                    yield *key, None
            else:
                yield *key, self._written(key, cell)
        self._changed.clear()
        self._made.clear()

    def _written(self, key: CellKey, cell: Cell[Any]) -> bytes:
        try:
            return msgspec.json.encode(cell)
        except Exception as error:
            if self._unkept is None:
                raise
            parked = self._cells[key] = Cell(self._states[key[0]](), parked=self._unkept(key, error))
            return msgspec.json.encode(parked)

    def adopt(self, rule: str, other: Cells) -> None:
        """Replace all cells of ``rule`` by those of ``other``."""
        self.drop(rule)
        for key, cell in other._cells.items():
            if key[0] == rule:
                self._cells[key] = cell
                self._changed.add(key)
                for about, armed in cell.wakes.items():
                    heapq.heappush(self._timers, (armed.fires, key[1], rule, about))

    def parked(self) -> Iterator[tuple[CellKey, Parked]]:
        """Every rule and account that waits for somebody to look at a failure."""
        return ((key, cell.parked) for key, cell in self._cells.items() if cell.parked)

    def __len__(self) -> int:
        return len(self._cells)
