"""Puts a family of tables in the place of the live ones, in one transaction, and numbers what readers see change by it.

Rows that are the same in both keep the number of their last change, the others get numbers behind all that were given:
who follows the view's changes is told exactly the differences.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, Text, inspect, select, text, update

from engage.store import deletions, pauses
from engage.store import positions as ledger
from engage.store.beginning import TableOf, drop, position_of
from engage.store.columns import is_json_text
from engage.store.families import Family, Slot, slotted
from engage.store.positions import MODELS, POSITIONS, StoredModel
from engage.store.tables import ViewTable

_DIFFERING = Table(
    "view_differences",
    MetaData(),
    Column("key", Text, primary_key=True),
    Column("partition", BigInteger, nullable=False),
    Column("change", BigInteger, nullable=False),
    prefixes=["TEMPORARY"],
)


def swap(connection: Connection, family: Family, tables: TableOf) -> int | None:
    """Let what was built beside become live; how many rows readers see change.

    None if it has not come as far, or is paused.
    """
    ledger.hold(connection)
    if pauses.any_of(connection, [model.name for model in family]):
        return None
    standing, stored = ledger.positions(connection), ledger.models(connection)
    ahead = position_of(standing, slotted(family[0].name, "next"))
    for model in family:
        stands = position_of(standing, model.name)
        if not ahead or position_of(standing, slotted(model.name, "next")) != ahead or (stands and stands != ahead):
            return None
    return sum(_Exchange(connection, tables(model, "next", 1), tables, "next", stored).make() for model in family)


def roll_back(connection: Connection, family: Family, tables: TableOf) -> int:
    """Let what was live before be live again, and keep what is live now in its place; how many rows change.

    LookupError if nothing was kept.
    """
    ledger.hold(connection)
    stored = ledger.models(connection)
    kept = [model for model in family if slotted(model.name, "previous") in stored]
    if not kept:
        raise LookupError(f"nothing was kept of {family[0].name!r} that could be put back: it was never rebuilt here")
    return sum(_Exchange(connection, tables(model, "previous", 1), tables, "previous", stored).make() for model in kept)


class _Exchange:
    """The table ``coming`` comes in from ``slot``, and the live one goes to ``previous``."""

    def __init__(
        self, connection: Connection, coming: ViewTable, tables: TableOf, slot: Slot, stored: dict[str, StoredModel]
    ) -> None:
        self._connection = connection
        self._coming = coming
        self._slot = slot
        self._model = coming.projection
        self._name = self._model.name
        self._live = stored.get(self._name)
        self._same_columns = self._live is not None and self._live.columns == stored[coming.name].columns
        self._sqlite = connection.dialect.name == "sqlite"

    def make(self) -> int:
        """Do it; how many rows readers see change."""
        connection, name = self._connection, self._name
        live = self._positions(name)
        changes = {partition: (changes or 0) for partition, (_, changes, _) in live.items()}
        differing = 0 if self._model.append_only else self._number(changes)
        if self._live is not None:
            if self._slot == "next":
                drop(connection, slotted(name, "previous"))
            self._rename(name, f"{name}__leaving")
        self._rename(self._coming.name, name)
        if self._live is not None:
            self._rename(f"{name}__leaving", slotted(name, "previous"))
            kept = update(MODELS).where(MODELS.c.projection == name)
            connection.execute(kept.values(epoch=self._live.epoch))
        for partition, (position, counted, _) in self._positions(name).items():
            # What was told already is not told again, also where what comes back reads on from further back.
            was, _, announced = live.get(partition, (position, 0, None))
            moved = update(POSITIONS).where(POSITIONS.c.projection == name, POSITIONS.c.partition == partition)
            told = {"changes": changes.get(partition, counted), "announces_from": max(was, announced or 0)}
            connection.execute(moved.values(readable_from=0, **told))
        return differing

    def _positions(self, name: str) -> dict[int, tuple[int, int, int | None]]:
        table = POSITIONS.c
        found = select(table.partition, table.position, table.changes, table.announces_from)
        rows = self._connection.execute(found.where(table.projection == name))
        return {partition: (position, changes, first) for partition, position, changes, first in rows}

    def _rename(self, name: str, to: str) -> None:
        self._connection.execute(text(f"ALTER TABLE {self._quoted(name)} RENAME TO {self._quoted(to)}"))
        ledger.rename(self._connection, name, to)

    def _number(self, changes: dict[int, int]) -> int:
        """Number the rows that come in, and note which ones go; carries ``changes``, by partition, on."""
        connection = self._connection
        coming, key = self._quoted(self._coming.name), self._quoted(self._coming.key)
        _DIFFERING.create(connection)
        if self._sqlite:
            driver: Any = connection.connection.driver_connection
            driver.create_function("same_json", 2, _same_json, deterministic=True)
        connection.execute(text(self._differing()), {"name": self._name})
        theirs = f"(SELECT change FROM view_differences d WHERE d.key = {coming}.{key})"
        others = f"{key} IN (SELECT key FROM view_differences)"
        connection.execute(text(f"UPDATE {coming} SET _change = {theirs} WHERE {others}"))
        if self._same_columns:
            live = self._quoted(self._name)
            kept = ", ".join(
                f"{one} = (SELECT {one} FROM {live} l WHERE l.{key} = {coming}.{key})"
                for one in ("_change", "_position")
            )
            connection.execute(text(f"UPDATE {coming} SET {kept} WHERE NOT {others}"))
        counted = select(_DIFFERING.c.partition, _DIFFERING.c.change)
        numbered = connection.execute(counted).all()
        for partition, change in numbered:
            changes[partition] = max(changes.get(partition, 0), change)
        _DIFFERING.drop(connection)
        back = f"DELETE FROM view_deletions WHERE projection = :name AND key IN (SELECT {key} FROM {coming})"
        connection.execute(text(back), {"name": self._name})
        gone = self._gone() if self._live is not None else []
        for place, (one, partition, _, position) in enumerate(gone):
            changes[partition] = changes.get(partition, 0) + 1
            gone[place] = (one, partition, changes[partition], position)
        deletions.back(connection, self._name, [key for key, *_ in gone])
        deletions.deleted(connection, self._name, gone)
        return len(numbered) + len(gone)

    def _differing(self) -> str:
        """The statement that numbers the keys whose rows are new or not the same."""
        coming, key = self._quoted(self._coming.name), self._quoted(self._coming.key)
        joined = only = ""
        if self._same_columns:
            same = " AND ".join(self._alike(column) for column in self._coming.columns)
            joined = f"LEFT JOIN {self._quoted(self._name)} l ON l.{key} = n.{key}"
            only = f"WHERE l.{key} IS NULL OR NOT ({same})"
        return (
            "INSERT INTO view_differences (key, partition, change) "
            f"SELECT n.{key}, n._partition, COALESCE(p.changes, 0)"
            f" + row_number() OVER (PARTITION BY n._partition ORDER BY n.{key}) "
            f"FROM {coming} n {joined} "
            f"LEFT JOIN positions p ON p.projection = :name AND p.partition = n._partition {only}"
        )

    def _alike(self, column: Column[Any]) -> str:
        """The condition that a column holds the same in the live table ``l`` and the new one ``n``."""
        name = self._quoted(column.name)
        if not self._sqlite:
            return f"l.{name} IS NOT DISTINCT FROM n.{name}"
        if is_json_text(column):
            return f"(l.{name} IS n.{name} OR same_json(l.{name}, n.{name}))"
        return f"l.{name} IS n.{name}"

    def _gone(self) -> list[deletions.Deletion]:
        """The rows that are live and do not come in; their change is still to be numbered."""
        coming, key, live = self._quoted(self._coming.name), self._quoted(self._coming.key), self._quoted(self._name)
        # Its columns may be those of another version: only the database knows which one is its key.
        [ours] = inspect(self._connection).get_pk_constraint(self._name)["constrained_columns"]
        found = (
            f"SELECT l.{self._quoted(ours)}, l._partition, 0, l._position FROM {live} l "
            f"LEFT JOIN {coming} n ON n.{key} = l.{self._quoted(ours)} WHERE n.{key} IS NULL ORDER BY 1"
        )
        return [
            (one, partition, change, position)
            for one, partition, change, position in self._connection.execute(text(found))
        ]

    def _quoted(self, name: str) -> str:
        return self._connection.dialect.identifier_preparer.quote(name)


def _same_json(live: str | None, coming: str | None) -> bool:
    """Whether two texts that are not the same say the same, as two of PostgreSQL's JSONB would.

    In which order a sum by names came to have them depends on how the log was cut into batches.
    """
    if live is None or coming is None:
        return False
    try:
        return _sorted(live) == _sorted(coming)
    except (ValueError, RecursionError):  # SQLite would end the exchange; readers are rather told once too often
        return False


def _sorted(value: str) -> str:
    return json.dumps(json.loads(value), sort_keys=True)
