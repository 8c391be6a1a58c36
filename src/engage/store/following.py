"""What changed in a read model since a place, in small parts: for those who follow it one row at a time.

A place is, by partition, the number of the last change that was seen, and of a change that was seen in part the key up
to which it was. A row that changed again meanwhile stands with its last change only, so none is told twice without need
and none is left out. Of what is only appended to, a row's change is its event's place in the log, counted from one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from sqlalchemy import Column, ColumnElement, Connection, Select, and_, collate, or_, select

from engage.store.asking import condition
from engage.store.deletions import DELETIONS
from engage.store.positions import POSITIONS
from engage.store.reader import Changed, ViewReader
from engage.views.asking import Condition
from engage.views.projection import ReadModel, place_key

_PLACES = 200
"""Places of the log that are looked up at once."""


class Seen(Struct, frozen=True, order=True):
    """Everything up to ``change`` was seen, of that one the keys up to ``key``; None: all of it."""

    change: int
    key: str | None = None


Places = dict[int, Seen]
"""By partition."""


class Look(Struct, frozen=True):
    """The next changes by partition, in order; ``heads`` numbers the last ones there are; ``whole``: these are all."""

    epoch: str
    heads: dict[int, int]
    changes: list[tuple[int, Changed]]
    whole: bool


class Following:
    """Looks for changes of ``model`` in what ``reader`` reads, of all rows or of those of some ``keys``.

    ViewMissingError while nobody has folded it here, or it is being folded anew.
    """

    def __init__(self, reader: ViewReader, model: ReadModel[Any], keys: Condition | None = None) -> None:
        self._reader = reader
        self._model = model
        self._keys = keys

    def start(self) -> tuple[str, dict[int, int]]:
        """The epoch, and the number of the last change by partition."""
        with self._reader.reading(self._model) as connection:
            return self._standing(connection)

    def look(self, places: Mapping[int, Seen], limit: int) -> Look:
        """Up to ``limit`` changes behind these places."""
        with self._reader.reading(self._model) as connection:
            epoch, heads = self._standing(connection)
            found: list[tuple[int, Changed]] = []
            for partition, head in heads.items():
                after = places.get(partition, Seen(0))
                if head > after.change or after.key is not None:
                    wanted = limit - len(found)
                    if self._model.append_only:
                        part = self._appended(connection, partition, after.change, head, wanted)
                    else:
                        part = self._part(connection, partition, after, wanted)
                    found += [(partition, one) for one in part]
                    if len(found) == limit:
                        return Look(epoch, heads, found, whole=False)
            return Look(epoch, heads, found, whole=True)

    def _standing(self, connection: Connection) -> tuple[str, dict[int, int]]:
        reached = POSITIONS.c.position if self._model.append_only else POSITIONS.c.changes
        columns = POSITIONS.c.partition, reached
        heads = connection.execute(
            select(*columns).where(POSITIONS.c.projection == self._model.name).order_by(*columns)
        )
        return self._reader.epoch_here(connection, self._model) or "", dict(heads.all())

    def _part(self, connection: Connection, partition: int, after: Seen, limit: int) -> list[Changed]:
        table = self._reader.table(self._model)
        columns = table.table.columns
        rows = select(*table.columns, columns._change, columns._position).where(columns._partition == partition)
        rows = self._behind(rows, columns[table.key], columns._change, after, limit)
        found: list[Changed] = []
        for row in connection.execute(rows):
            values = row[:-2]
            found.append((values[0], table.row(values), row[-2], row[-1]))
        gone = DELETIONS.c
        deleted = select(gone.key, gone.change, gone.position).where(
            gone.projection == self._model.name, gone.partition == partition
        )
        deleted = self._behind(deleted, gone.key, gone.change, after, limit)
        found += [(row[0], None, row[1], row[2]) for row in connection.execute(deleted)]
        return sorted(found, key=lambda one: (one[2], one[0]))[:limit]

    def _appended(self, connection: Connection, partition: int, after: int, head: int, limit: int) -> list[Changed]:
        """Found by their keys, which are places: who follows a table that only grows needs no other index of it."""
        table = self._reader.table(self._model)
        key, position = table.table.columns[table.key], table.table.columns._position
        rows = select(*table.columns, position)
        if self._keys is not None:
            rows = rows.where(condition(key, self._keys, sqlite=self._reader.database.sqlite))
        found: list[Changed] = []
        for first in range(after, head, _PLACES):
            numbers = {place_key(partition, n): n + 1 for n in range(first, min(first + _PLACES, head))}
            for *values, stood in connection.execute(rows.where(key.in_(numbers))):
                found.append((values[0], table.row(values), numbers[values[0]], stood))
            if len(found) >= limit:
                break
        return sorted(found, key=lambda one: one[2])[:limit]

    def _behind(
        self, statement: Select[Any], key: Column[Any], change: Column[Any], after: Seen, limit: int
    ) -> Select[Any]:
        sqlite = self._reader.database.sqlite
        # By code points, as a place is compared here, whatever order the database has its texts in.
        ordered: ColumnElement[Any] = key if sqlite else collate(key, "C")
        behind: ColumnElement[bool] = change > after.change
        if after.key is not None:
            behind = or_(behind, and_(change == after.change, ordered > after.key))
        if self._keys is not None:
            statement = statement.where(condition(key, self._keys, sqlite=sqlite))
        return statement.where(behind).order_by(change, ordered).limit(limit)
