"""What the engine remembers of one account: a row with a cell for each rule that has something to remember.

The row is what is looked up, once an event; in it the cells stand at their rule's place. What can be part of no cycle
is hidden from the garbage collector (``gc=False``): its share of the engine's time fell from a seventh to a twentieth.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from hashlib import blake2b
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

S = TypeVar("S")

CellKey = tuple[str, str]
"""Rule name and account id."""


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


class Row:
    """An account that is awake: its cells, those None that nobody has wanted yet, and how they are stored.

    ``stored`` are the cells' bytes as they were given out or loaded last, b"" where there are none, and None for what
    is stored somewhere and holds no more. A bit of ``changed`` says that the cell at that place may differ from it.
    """

    __slots__ = ("account", "cells", "changed", "share", "stored")

    def __init__(self, account: str, share: int, cells: list[Cell[Any] | None], stored: list[bytes | None]) -> None:
        self.account = account
        self.share = share
        self.cells = cells
        self.stored = stored
        self.changed = 0


class _Wakes(Struct):
    """A stored cell but for its state."""

    wakes: dict[str, Armed] = {}


Unkept = Callable[[CellKey, Exception], Parked]
"""Told of a state that cannot be written down or read back; says how the cell is parked."""

_encode = msgspec.json.Encoder().encode
_read_wakes = msgspec.json.Decoder(_Wakes).decode
_shapes: dict[type[Any], str] = {}
_HAS_WAKES = b'"wakes":'
HAS_PARKED = b'"parked":'
"""Stands in every stored cell whose account stands still for the rule."""


class RuleCells:
    """What the cells of one rule are like: ``place`` in each row, ``bit`` of ``Row.changed``, how they are stored."""

    def __init__(self, rule: str, place: int, state: type[Any], changed: dict[str, Row], unkept: Unkept | None) -> None:
        self.rule = rule
        self.place = place
        self.bit = 1 << place
        self.decode = msgspec.json.Decoder(Cell[state]).decode  # type: ignore[valid-type]
        self.fresh = Cell(state())
        self.spare = Cell(state())
        self._state = state
        self._changed = changed
        self._unkept = unkept

    @property
    def shape(self) -> str:
        """A digest of what the stored cells look like: it tells states of another shape apart."""
        shape = _shapes.get(self._state)
        if shape is None:
            schema = msgspec.json.schema(Cell[self._state])  # type: ignore[name-defined]
            digest = blake2b(msgspec.json.encode(schema, order="sorted"), digest_size=8)
            shape = _shapes[self._state] = digest.hexdigest()
        return shape

    def lend(self, row: Row) -> Cell[Any]:
        """The row's cell that sleeps, or else ``spare``, a fresh one to be kept only if it is not ``untouched``.

        Most of the cells that events find missing would be as fresh after them.
        """
        value = row.stored[self.place]
        return self._awake(row, value) if value else self.spare

    @property
    def untouched(self) -> bool:
        """Whether the spare cell is still a fresh one."""
        spare = self.spare
        return not spare.wakes and spare.state == self.fresh.state and spare.parked is None

    def keep(self, row: Row) -> None:
        """The spare cell is this row's from here on."""
        row.cells[self.place] = self.spare
        self.spare = Cell(self._state())

    def get(self, row: Row) -> Cell[Any]:
        """The row's cell, made fresh if there is none."""
        cell = row.cells[self.place] or self.lend(row)
        if cell is self.spare:
            self.keep(row)
        return cell

    def park(self, row: Row, parked: Parked) -> Cell[Any]:
        """A cell without its state in place of one that cannot be kept."""
        cell = row.cells[self.place] = Cell(self._state(), parked=parked)
        return cell

    def change(self, row: Row) -> None:
        """The row's cell is another one than is stored, or may be."""
        row.changed |= self.bit
        self._changed[row.account] = row

    def forget(self, row: Row) -> None:
        """The row has no cell of this rule any more."""
        row.cells[self.place] = None
        if row.stored[self.place]:
            row.stored[self.place] = None
        self.change(row)

    def copy(self, row: Row, cell: Cell[Any]) -> Cell[Any]:
        """The row's cell is a copy of that of another engine from here on."""
        try:
            copied = row.cells[self.place] = self.decode(_encode(cell))
        except Exception as error:  # whatever a rule has put there, or its types raise
            if self._unkept is None:
                raise
            copied = self.park(row, self._unkept((self.rule, row.account), error))
        return copied

    def encoded(self, row: Row) -> bytes:
        """The row's cell as it is to be stored, b"" where nothing is left to keep."""
        cell = row.cells[self.place]
        if cell is None or (not cell.wakes and cell == self.fresh):
            row.cells[self.place] = None
            return b""
        try:
            return _encode(cell)
        except Exception as error:
            if self._unkept is None:
                raise
            return _encode(self.park(row, self._unkept((self.rule, row.account), error)))

    def _awake(self, row: Row, value: bytes) -> Cell[Any]:
        try:
            cell = row.cells[self.place] = self.decode(value)
        except msgspec.MsgspecError as error:
            # The rule put something else into its state than it declares.
            if self._unkept is None:
                raise
            cell = self.park(row, self._unkept((self.rule, row.account), error))
            self.change(row)
        return cell


def wakes_of(value: bytes) -> dict[str, Armed]:
    """The wakes of a stored cell, whatever its state is."""
    return _read_wakes(value).wakes if _HAS_WAKES in value else {}
