"""The engine's memory: a row of cells for each account, and the timers over all of them.

An account sleeps most of the time: its cells are then the bytes that were written down, in one piece, which is a sixth
of what they are as objects. It wakes when it is heard of, and a cell is decoded when its rule wants it.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Container, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

import msgspec
from msgspec.structs import replace

from engage.events.shares import share_of
from engage.rules.cell import HAS_PARKED, Armed, Cell, CellKey, Parked, Row, RuleCells, Unkept, wakes_of

Timer = tuple[datetime, str, str, str]
"""When it fires (UTC), account, rule, and what about: in this order they fire.

A wake that is put off keeps its timer, which is set anew when its moment has come: most are put off again and again.
"""

Waiting = tuple[RuleCells, Row, Cell[Any], str, Armed]
"""A wake that waits: whose it is, in which row and cell, what about, and the wake."""

MOST_AWAKE = 1_000
"""Accounts of a partition that stay awake when all is written down, if nobody says otherwise."""
_COMPACT_FROM = 1_000
_NEXT_MOMENT = timedelta(microseconds=1)
_EVER = datetime.max.replace(tzinfo=UTC)
_BETWEEN = b"\n"
"""JSON as msgspec writes it is on one line: line by line stand the cells of a sleeping account, by place."""


class Cells:
    """All cells of a partition, what changed since it was last asked, and the timers in the order they fire.

    Stored as JSON, because that keeps a moment's UTC offset: what is read back is what was written. ``timers`` is a
    heap: nothing fires before the first of them is due, and then something may, for it may have been replaced.
    ``awake`` are the rows that are looked up first; whoever misses one there asks ``row``. When all is written down,
    ``most_awake`` accounts stay so, those heard of last, 6 kB each.
    """

    def __init__(self, states: dict[str, type[Any]], unkept: Unkept | None = None) -> None:
        self.timers: list[Timer] = []
        self.awake: dict[str, Row] = {}
        # Two halves of those awake: who is heard of is in the first; when that is full it becomes the second, and who
        # was in that sleeps. To keep the exact order of use costs more than to wake a few too many.
        self._drowsy: dict[str, Row] = {}
        self._asleep: dict[str, bytes] = {}
        self.changed: dict[str, Row] = {}
        self.most_awake = MOST_AWAKE
        self._compact_at = _COMPACT_FROM
        self._unkept = unkept
        self._rules: dict[str, RuleCells] = {}
        for name in sorted(states):
            self.add(name, states[name])
        # Cells of rules that are no more: they are nobody's, but have to be given up.
        self._gone: set[CellKey] = set()

    def add(self, rule: str, state: type[Any]) -> None:
        """Cells of one more rule; before there is any row."""
        self._rules[rule] = RuleCells(rule, len(self._rules), state, self.changed, self._unkept)

    def of(self, rule: str) -> RuleCells:
        """The cells of ``rule``: the same object for as long as this one lives."""
        return self._rules[rule]

    def row(self, account: str) -> Row:
        """The account's row, awake; an empty one if nothing is known of it."""
        row = self.awake.get(account)
        if row is None:
            row = self._drowsy.pop(account, None)
            if row is None:
                value = self._asleep.pop(account, None)
                width = len(self._rules)
                stored: list[bytes | None] = [b""] * width if value is None else list(value.split(_BETWEEN))
                row = Row(account, share_of(account), [None] * width, stored)
            self.awake[account] = row
        return row

    def get(self, key: CellKey) -> Cell[Any]:
        """The cell, made fresh if there is none; whoever changes it calls ``touch``."""
        return self._rules[key[0]].get(self.row(key[1]))

    def touch(self, key: CellKey) -> None:
        """This cell has changed."""
        self._rules[key[0]].change(self.row(key[1]))

    def change(self, row: Row, bits: int) -> None:
        """The row's cells with these bits are others than are stored, or may be."""
        row.changed |= bits
        self.changed[row.account] = row

    def give_up(self, key: CellKey) -> None:
        """This cell is stored and was not loaded: nobody wants it any more."""
        rule, account = key
        if rule in self._rules:
            row, cells = self.row(account), self._rules[rule]
            row.stored[cells.place] = None
            cells.change(row)
        else:
            self._gone.add(key)

    def arm(self, row: Row, cell: Cell[Any], rule: str, about: str, armed: Armed) -> None:
        """Set a wake of the row's ``cell``; one that waits about the same is replaced."""
        fires, wakes, timers = armed.fires, cell.wakes, self.timers
        before = wakes.get(about)
        wakes[about] = armed
        if before is None or before.fires > fires:  # else the timer that there is will see that it has moved
            heapq.heappush(timers, (fires, row.account, rule, about))
            if len(timers) > self._compact_at:
                self._compact()

    def _compact(self) -> None:
        """Keep the first timer of each wake that waits: one that is forgotten or moved forward leaves its timer behind.

        They are looked through and not the cells, of which there are many times more.
        """
        first: dict[tuple[str, str, str], Timer] = {}
        for timer in sorted(self.timers):
            first.setdefault(timer[1:], timer)
        self.timers[:] = filter(self._waits, first.values())  # sorted, and so a heap
        self._compact_at = 2 * len(self.timers) + _COMPACT_FROM

    def next_due(self) -> datetime | None:
        """When the next wake fires, None if nothing waits."""
        return None if self._first(_EVER) is None else self.timers[0][0]

    def may_be_due(self, now: datetime) -> bool:
        """Whether ``pop_due`` may have something; ``next_due`` takes three times as long to say it for certain."""
        return bool(self.timers) and self.timers[0][0] <= now

    def pop_due(self, now: datetime) -> Waiting | None:
        """Take the first wake that fires at or before ``now``; ties by account, rule, about."""
        found = self._first(now)
        if found is None:
            return None
        heapq.heappop(self.timers)
        cells, row, cell, about, _ = found
        cells.change(row)
        del cell.wakes[about]
        return found

    def _first(self, until: datetime) -> Waiting | None:
        """The wake of the first timer, if it fires by then.

        A timer whose wake fires later by now is set to that moment, one without a wake, or of a parked cell, goes:
        ``unpark`` sets those again.
        """
        timers = self.timers
        while timers and timers[0][0] <= until:
            fires, account, rule, about = timers[0]
            cells = self._rules[rule]
            row = self.awake.get(account) or self.row(account)
            cell = row.cells[cells.place] or cells.lend(row)
            armed = cell.wakes.get(about)
            if armed is None or cell.parked is not None or armed.fires < fires:
                heapq.heappop(timers)
            elif armed.fires == fires:
                return cells, row, cell, about, armed
            else:
                heapq.heapreplace(timers, (armed.fires, account, rule, about))
        return None

    def _waits(self, timer: Timer) -> bool:
        """Whether a wake waits for this timer, looked up without waking anybody."""
        fires, account, rule, about = timer
        place = self._rules[rule].place
        row = self.awake.get(account) or self._drowsy.get(account)
        if row is None:
            value = self._asleep[account].split(_BETWEEN)[place] if account in self._asleep else b""
        elif (cell := row.cells[place]) is not None:
            armed = cell.wakes.get(about)
            return armed is not None and armed.fires >= fires and cell.parked is None
        else:
            value = row.stored[place] or b""
        armed = wakes_of(value).get(about)
        return armed is not None and armed.fires >= fires

    def load(self, stored: Iterable[tuple[str, str, bytes]], known: Container[str] = ()) -> set[str]:
        """Put back what ``changes`` gave out: ``(rule, account, bytes)``; rules that are no more are passed over.

        The rules whose cells have another shape than today's are returned; theirs are given up, all of them. Of the
        rules in ``known`` the shape is today's: their cells are put back as they are, which takes a third of the time.
        """
        unreadable: set[str] = set()
        rules, nothing = self._rules, [b""] * len(self._rules)
        values: dict[str, list[bytes]] = {}
        for rule, account, value in stored:
            cells = rules.get(rule)
            if cells is None:
                continue
            of_account = values.get(account)
            if of_account is None:
                of_account = values[account] = nothing.copy()
            of_account[cells.place] = value.replace(_BETWEEN, b" ")  # a damaged one is that rule's alone
            if rule not in known:
                try:
                    cells.decode(value)
                except msgspec.MsgspecError:
                    unreadable.add(rule)
                    continue
            for about, armed in wakes_of(value).items():
                self.timers.append((armed.fires, account, rule, about))
        heapq.heapify(self.timers)
        self._asleep = {account: _BETWEEN.join(of_account) for account, of_account in values.items()}
        for rule in unreadable:
            self.drop(rule)
        for account in [account for account, value in self._asleep.items() if HAS_PARKED in value]:
            row = self.row(account)
            for cells in rules.values():
                if HAS_PARKED in (row.stored[cells.place] or b""):
                    cells.lend(row)
        return unreadable

    def drop(self, rule: str) -> None:
        """Forget all cells of ``rule``."""
        cells = self._rules[rule]
        place = cells.place
        for account in [account for account, value in self._asleep.items() if value.split(_BETWEEN)[place]]:
            self.row(account)
        for row in self._rows():
            if row.cells[place] is not None or row.stored[place]:
                cells.forget(row)

    def changes(self, shares: Collection[int] | None = None) -> list[tuple[str, str, bytes | None]]:
        """Each cell that is another than at the last call, as ``(rule, account, bytes)``; None where none is left.

        Of all accounts, or of these ``shares`` of them. Rule by rule, in the order in which the accounts changed first.
        Who was not heard of for long sleeps from here on.
        """
        rules = list(self._rules.values())
        by_place: list[list[tuple[str, str, bytes | None]]] = [[] for _ in rules]
        changed = [row for row in self.changed.values() if shares is None or row.share in shares]
        for row in changed:
            account = row.account
            bits, row.changed, stored = row.changed, 0, row.stored
            while bits:
                place = bits.bit_length() - 1
                cells = rules[place]
                bits ^= cells.bit
                value = cells.encoded(row)
                if value != stored[place]:  # many a handler leaves its state as it was
                    stored[place] = value
                    by_place[place].append((cells.rule, account, value or None))
            del self.changed[account]
        changes: list[tuple[str, str, bytes | None]] = [(rule, account, None) for rule, account in sorted(self._gone)]
        self._gone.clear()
        changes += chain.from_iterable(by_place)
        if len(self.awake) > self.most_awake // 2:
            self._rest(shares)
        return changes

    def _rest(self, shares: Collection[int] | None) -> None:
        """Who is awake gets drowsy, and who was drowsy sleeps; not the parked, who are asked for."""
        resting = [row for row in self._drowsy.values() if shares is None or row.share in shares]
        for row in resting:
            del self._drowsy[row.account]
        for row in [row for row in self.awake.values() if shares is None or row.share in shares]:
            self._drowsy[row.account] = self.awake.pop(row.account)
        nothing = _BETWEEN * (len(self._rules) - 1)
        for row in resting:
            account = row.account
            value = _BETWEEN.join(row.stored)  # type: ignore[arg-type]  # nothing is None once it is written
            if HAS_PARKED in value:
                self.awake[account] = row
            elif value != nothing:
                self._asleep[account] = value

    def adopt(self, rule: str, other: Cells) -> None:
        """Replace all cells of ``rule`` by those of ``other``."""
        self.drop(rule)
        ours, theirs = self._rules[rule], other._rules[rule]
        for account in list(other._asleep):
            other.row(account)
        for row in other._rows():
            cell = row.cells[theirs.place]
            if cell is None and row.stored[theirs.place]:
                cell = theirs.lend(row)
            if cell is not None:
                mine = self.row(row.account)
                mine.cells[ours.place] = cell
                ours.change(mine)
                for about, armed in cell.wakes.items():
                    heapq.heappush(self.timers, (armed.fires, row.account, rule, about))

    def adopt_one(self, rule: str, account: str, other: Cells, of: str | None = None) -> None:
        """Replace the cell of one account by a copy of that of ``other``, which goes on; ``of`` another rule there."""
        ours, place = self._rules[rule], other._rules[of or rule].place
        row = self.row(account)
        ours.forget(row)
        theirs = other.row(account).cells[place]
        if theirs is not None:
            for about, armed in ours.copy(row, theirs).wakes.items():
                heapq.heappush(self.timers, (armed.fires, account, rule, about))

    def unpark(self, key: CellKey, now: datetime) -> None:
        """Nobody has to look at the cell any more. What would have woken it meanwhile does so right after ``now``.

        Its timers went while it was parked; and a tick can move time on only to a moment that is to come.
        """
        rule, account = key
        row, cells = self.row(account), self._rules[rule]
        cell = cells.get(row)
        cell.parked = None
        cells.change(row)
        for about, armed in cell.wakes.items():
            waiting = cell.wakes[about] = replace(armed, fires=max(armed.fires, now + _NEXT_MOMENT))
            heapq.heappush(self.timers, (waiting.fires, account, rule, about))

    def parked(self) -> Iterator[tuple[CellKey, Parked]]:
        """Every rule and account that waits for somebody to look at a failure."""
        for row in self._rows():
            for rule, cells in self._rules.items():
                cell = row.cells[cells.place]
                if cell is not None and cell.parked is not None:
                    yield (rule, row.account), cell.parked

    def is_parked(self, key: CellKey) -> bool:
        """Whether this rule waits for somebody to look at a failure on this account."""
        rule, account = key
        row = self.awake.get(account) or self._drowsy.get(account)
        cell = row.cells[self._rules[rule].place] if row is not None and rule in self._rules else None
        return cell is not None and cell.parked is not None

    def __len__(self) -> int:
        asleep = sum(value.count(_BETWEEN + b"{") + value.startswith(b"{") for value in self._asleep.values())
        return asleep + sum(
            cell is not None or bool(value)
            for row in self._rows()
            for cell, value in zip(row.cells, row.stored, strict=True)
        )

    def _rows(self) -> list[Row]:
        """All who are awake."""
        return [*self.awake.values(), *self._drowsy.values()]
