"""Puts read models at the start of a log: new ones live at once, changed ones beside what is live."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from msgspec import Struct
from sqlalchemy import Connection, MetaData, Table, insert, inspect

from engage.store import positions as ledger
from engage.store.families import Family, Slot, families, slotted
from engage.store.positions import GenerationError, Position, StoredModel
from engage.store.tables import ViewTable
from engage.views.projection import ReadModel

TableOf = Callable[[ReadModel[Any], Slot, int], ViewTable]
"""The table of a read model in a slot, its indexes named by the number of its build."""

_log = structlog.get_logger()


class Source(Struct, frozen=True):
    """The log that is folded; ``ends`` of its partitions as of now, None if they are looked up later."""

    generation: str
    partitions: int
    ends: Mapping[int, int] | None = None

    def ends_by_partition(self) -> dict[int, int | None]:
        """Where each partition ends, None where that is not known."""
        return {partition: self.ends[partition] if self.ends else None for partition in range(self.partitions)}


class Beginner:
    """Begins read models in one database, named ``where``, within one transaction."""

    def __init__(self, connection: Connection, tables: TableOf, source: Source, where: str) -> None:
        self._connection = connection
        self._tables = tables
        self._source = source
        self._where = where
        self._stored = ledger.models(connection)
        self._positions = ledger.positions(connection)

    def prepare(self, models: Sequence[ReadModel[Any]]) -> list[str]:
        """Make what is not here; the names of those that are folded again, beside what is live, since they changed."""
        again: list[str] = []
        for family in families(models):
            known = [model for model in family if model.name in self._stored]
            for model in known:
                self._refuse_another_log(model.name)
            if not known:
                for model in family:
                    self._refuse_foreign(model.name)
                    self._begin(model, "live", self._source.ends_by_partition())
                continue
            if not all(self.fits(model, "live") for model in family) or not self._together(family, "live"):
                for model in family:
                    again.append(model.name)
                    because = self._why(model)
                    _log.warning("view is folded again from the start of the log", view=model.name, because=because)
                self.beside(family)
            else:
                for model in family:
                    self._complete(model)
        return again

    def beside(self, family: Family) -> None:
        """See that the family is being built beside: anew, or from where it was left if it is still the same."""
        if all(self.fits(model, "next") for model in family) and self._together(family, "next"):
            return
        for model in family:
            for name in [name for name in self._stored if name == slotted(model.name, "next")]:
                drop(self._connection, name)
            self._begin(model, "next", dict.fromkeys(range(self._source.partitions), 0))

    def fits(self, model: ReadModel[Any], slot: Slot) -> bool:
        """Whether the model is there in its version, with its columns."""
        stored = self._stored.get(slotted(model.name, slot))
        return stored is not None and is_of(stored, self._tables(model, slot, 1))

    def _together(self, family: Family, slot: Slot) -> bool:
        stands = [self._stands(slotted(model.name, slot)) for model in family]
        return all(one == stands[0] for one in stands)

    def _stands(self, name: str) -> dict[int, tuple[str, int]]:
        found = [position for position in self._positions.values() if position.projection == name]
        return {one.partition: (one.generation, one.position) for one in found}

    def _begin(self, model: ReadModel[Any], slot: Slot, ends: Mapping[int, int | None]) -> None:
        builds = [one.build for name, one in self._stored.items() if name.partition("__")[0] == model.name]
        build = max(builds, default=0) + 1
        table = self._tables(model, slot, build)
        table.table.create(self._connection)
        stored = {
            "projection": table.name,
            "version": model.version,
            "columns": table.fingerprint,
            "build": build,
            "epoch": uuid.uuid4().hex,
        }
        self._connection.execute(insert(ledger.MODELS).values(stored))
        ledger.begin(self._connection, table.name, model.version, self._source.generation, ends)

    def _complete(self, model: ReadModel[Any]) -> None:
        there = {position.partition for position in self._positions.values() if position.projection == model.name}
        missing = {one: end for one, end in self._source.ends_by_partition().items() if one not in there}
        ledger.begin(self._connection, model.name, model.version, self._source.generation, missing)

    def _why(self, model: ReadModel[Any]) -> str:
        stored = self._stored.get(model.name)
        if stored is None:
            return "it adds up rows that were folded without it"
        if stored.version != model.version:
            return f"version {stored.version} became {model.version}"
        return "what it is folded with changed" if self.fits(model, "live") else "its columns changed"

    def _refuse_another_log(self, name: str) -> None:
        for one in self._positions.values():
            if one.projection == name and one.generation != self._source.generation:
                raise GenerationError(ledger.another_log(name, self._where, one.generation, self._source.generation))

    def _refuse_foreign(self, name: str) -> None:
        if inspect(self._connection).has_table(name):
            raise ValueError(
                f"{self._where} has a table {name!r} that is no view of engage: give the projection another "
                "name, or engage a database of its own"
            )


def is_of(stored: StoredModel, table: ViewTable) -> bool:
    """Whether what is stored is a read model in just this shape."""
    return (stored.version, stored.columns) == (table.projection.version, table.fingerprint)


def drop(connection: Connection, name: str) -> None:
    """Drop the table of this name, and what is kept of it."""
    Table(name, MetaData()).drop(connection, checkfirst=True)
    ledger.forget(connection, name)


def drop_all(connection: Connection) -> None:
    """Drop every read model of a store, of whatever shape, to fold it again."""
    for name in [row[0] for row in connection.exec_driver_sql("SELECT projection FROM view_models")]:
        Table(name, MetaData()).drop(connection, checkfirst=True)
    for table in reversed(ledger.TABLES.sorted_tables):
        table.drop(connection, checkfirst=True)
    ledger.TABLES.create_all(connection)


def position_of(positions: Mapping[tuple[str, int], Position], name: str) -> dict[int, int]:
    """How far a table has come, by partition."""
    return {one.partition: one.position for one in positions.values() if one.projection == name}
