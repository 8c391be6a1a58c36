"""The read models' rows, each batch of them in one transaction with the position it leads to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog
from msgspec import Struct, field
from sqlalchemy import Connection, Float, cast, delete, inspect, select
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError

from engage.store import positions as ledger
from engage.store import schema_version
from engage.store.columns import is_decimal_text
from engage.store.database import Database
from engage.store.positions import GenerationError, Position, PositionMovedError
from engage.store.tables import ViewTable
from engage.views.parking import Parked, Stops
from engage.views.passes import Folded
from engage.views.projection import ReadModel

__all__ = ["Change", "GenerationError", "PositionMovedError", "UnstorableRowsError", "ViewMissingError", "ViewStore"]

SCHEMA = 1
R = TypeVar("R", bound=Struct)
_log = structlog.get_logger()


class ViewMissingError(LookupError):
    """Nobody has folded this view here yet: ``engage up`` or ``engage demo`` does."""


class UnstorableRowsError(ValueError):
    """The database refuses rows that a fold made: ``failures`` by (projection, key). Nothing was written."""

    def __init__(self, failures: Mapping[tuple[str, str], Exception]) -> None:
        self.failures = failures
        (projection, key), error = next(iter(failures.items()))
        super().__init__(f"view {projection!r} cannot hold the row {key!r} that its fold made: {error}")


class Change(Struct):
    """What one batch makes of one read model: from the position ``old`` to ``position``."""

    old: Position
    position: int
    folded: Folded


class Standing(Struct):
    """Where the read models stand by (projection, partition), and what is parked by projection."""

    positions: dict[tuple[str, int], Position]
    stops: dict[str, Stops] = field(default_factory=dict)


class ViewStore:
    """The database of read models at ``url``, ``sqlite:///FILE`` or ``postgresql://…``.

    ``read_only``: nothing in it is made or migrated, as far as it is SQLite; its file must be there.
    """

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        self.database = Database(url, synchronous="normal", read_only=read_only)
        self._tables: dict[ReadModel[Any], ViewTable] = {}
        if read_only and self.database.sqlite:
            return
        with self.database.set_up() as connection:
            schema_version.settle(
                connection,
                "views",
                ledger.TABLES,
                version=SCHEMA,
                migrations={},
                remedy=f"remove {self.database.name}, every view is folded again from the log at the next start",
            )

    def close(self) -> None:
        """Close every connection."""
        self.database.close()

    def prepare(self, projections: Sequence[ReadModel[Any]], generation: str, partitions: int) -> list[str]:
        """Make the tables of these read models, at the start of all ``partitions`` of the log ``generation``.

        Returns the names of those that are folded again from the start, because their version or columns changed.
        GenerationError if a view is a fold of another log; ValueError for a name that a table of ours bears.
        """
        again = []
        with self.database.change_tables() as connection:
            for projection in projections:
                table = self.table(projection)
                model = ledger.MODELS.c
                named = model.projection == projection.name
                stored = connection.execute(select(model.version, model.columns).where(named)).first()
                if stored is None:
                    self._refuse_foreign(connection, projection.name)
                    self._begin(connection, table, generation, partitions)
                elif (stored.version, stored.columns) != (projection.version, table.fingerprint):
                    again.append(projection.name)
                    versions = f"version {stored.version} became {projection.version}"
                    _log.warning(
                        "view is folded again from the start of the log",
                        view=projection.name,
                        because="its columns changed" if stored.version == projection.version else versions,
                    )
                    self._begin(connection, table, generation, partitions)
                else:
                    self._complete(connection, projection, generation, partitions)
        return again

    def reset(self, projection: ReadModel[Any], generation: str, partitions: int) -> None:
        """Drop the rows, positions and parked keys of a read model, and begin anew."""
        with self.database.change_tables() as connection:
            self._begin(connection, self.table(projection), generation, partitions)

    def standing(self) -> Standing:
        """Positions and what is parked, of one moment."""
        with self.database.read() as connection:
            return Standing(_positions(connection), ledger.stops(connection))

    def stops(self) -> dict[str, Stops]:
        """What is parked, by projection."""
        with self.database.read() as connection:
            return ledger.stops(connection)

    def positions(self) -> list[Position]:
        """How far every read model in this database has come, by name and partition."""
        with self.database.read() as connection:
            return [position for _, position in sorted(_positions(connection).items())]

    def parked(self, projection: ReadModel[Any]) -> list[Parked]:
        """What stands still in a read model, in the order of the log."""
        table = ledger.PARKED.c
        columns = [table[name] for name in Parked.__struct_fields__]
        found = select(*columns).where(table.projection == projection.name).order_by(table.partition, table.offset)
        with self.database.read() as connection:
            return [Parked(*row) for row in connection.execute(found)]

    def commit(self, changes: Sequence[Change]) -> None:
        """Write the rows and move the positions of all changes, or nothing.

        PositionMovedError if somebody else moved a position meanwhile: what was folded is stale, drop it.
        GenerationError for views of another log. UnstorableRowsError names the rows that the database refuses.
        """
        ordered = sorted(changes, key=lambda change: change.old.projection)  # else two might wait for each other
        try:
            batches = [(change, *self._split(change.folded)) for change in ordered]
            with self.database.write() as connection:
                for change in ordered:
                    ledger.advance(connection, change.old, change.position, name=self.database.name)
                for change, table, rows, gone in batches:
                    table.upsert(connection, rows)
                    table.delete(connection, gone)
                    name = change.old.projection
                    ledger.park(connection, name, change.folded.parked.values())
                    ledger.count_skipped(connection, name, change.folded.skipped.items())
        except (PositionMovedError, GenerationError, OperationalError, InterfaceError):
            raise
        except Exception as error:
            failures = self._unstorable(ordered)
            if failures:
                raise UnstorableRowsError(failures) from error
            raise

    def load(self, projection: ReadModel[Any], keys: Sequence[str]) -> dict[str, Any]:
        """The rows that exist of these keys, by key, fresh ones each time."""
        with self.database.read() as connection:
            return self.table(projection).load(connection, keys)

    @contextmanager
    def snapshot(self, projection: ReadModel[Any]) -> Iterator[tuple[dict[int, int], Iterator[Any]]]:
        """The positions by partition and every row of a read model, of one moment."""
        with self.database.read() as connection:
            found = _positions(connection).values()
            standing = {one.partition: one.position for one in found if one.projection == projection.name}
            yield standing, self.table(projection).scan(connection)

    def get(self, projection: ReadModel[R], key: str) -> R | None:
        """The row of ``key``; ViewMissingError if nobody has folded this view here."""
        row: R | None
        with self._reading(projection) as connection:
            row = self.table(projection).load(connection, [key]).get(key)
        return row

    def select(
        self,
        projection: ReadModel[R],
        where: Mapping[str, Any] | None = None,
        *,
        below: tuple[str, Any] | None = None,
        order: str | None = None,
        descending: bool = False,
        limit: int | None = None,
    ) -> list[R]:
        """Rows whose columns equal ``where``, by the column ``order`` and then by key.

        ``below`` is a column and a value: only rows with less than it there, to read on where a page ended. KeyError
        for a column that the read model has not; ViewMissingError if nobody has folded this view here.
        """
        table = self.table(projection).table
        statement = select(table)
        for name, value in (where or {}).items():
            column = table.columns[name]
            statement = statement.where(column.is_(None) if value is None else column == value)
        if below is not None:
            statement = statement.where(table.columns[below[0]] < below[1])
        fields = projection.row.__struct_fields__
        for name in dict.fromkeys((order or fields[0], fields[0])):
            column = table.columns[name]
            by = cast(column, Float) if is_decimal_text(column) else column
            statement = statement.order_by(by.desc() if descending else by.asc())
        with self._reading(projection) as connection:
            found = connection.execute(statement.limit(limit))
            return [projection.row(**dict(zip(fields, row, strict=True))) for row in found]

    def table(self, projection: ReadModel[Any]) -> ViewTable:
        """The table of a read model in this database; TypeError if no table can hold its rows."""
        table = self._tables.get(projection)
        if table is None:
            table = self._tables[projection] = ViewTable(projection, sqlite=self.database.sqlite)
        return table

    @contextmanager
    def _reading(self, projection: ReadModel[Any]) -> Iterator[Connection]:
        try:
            with self.database.read() as connection:
                yield connection
        except (OperationalError, ProgrammingError) as error:
            if inspect(self.database.engine).has_table(projection.name):
                raise
            raise ViewMissingError(
                f"there is no view {projection.name!r} in {self.database.name} yet: start engage (`engage up`), it "
                "folds it from the log"
            ) from error

    def _split(self, folded: Folded) -> tuple[ViewTable, list[tuple[Any, ...]], list[str]]:
        table = self.table(folded.model)
        rows = [table.encode(row) for row in folded.rows.values() if row is not None]
        return table, rows, [key for key, row in folded.rows.items() if row is None]

    def _unstorable(self, changes: Sequence[Change]) -> dict[tuple[str, str], Exception]:
        failures: dict[tuple[str, str], Exception] = {}
        with self.database.write() as connection:
            for change in changes:
                table = self.table(change.folded.model)
                for key, row in change.folded.rows.items():
                    try:
                        with connection.begin_nested():
                            table.upsert(connection, [] if row is None else [table.encode(row)])
                    except (OperationalError, InterfaceError):
                        raise
                    except Exception as error:
                        told = error.orig if isinstance(error, DBAPIError) else error
                        failures[change.old.projection, key] = told if isinstance(told, Exception) else error
            connection.rollback()  # this only tried
        return failures

    def _begin(self, connection: Connection, table: ViewTable, generation: str, partitions: int) -> None:
        name, version = table.projection.name, table.projection.version
        for owned in (ledger.POSITIONS, ledger.PARKED, ledger.MODELS):
            connection.execute(delete(owned).where(owned.c.projection == name))
        table.table.drop(connection, checkfirst=True)
        table.table.create(connection)
        stored = {"projection": name, "version": version, "columns": table.fingerprint}
        connection.execute(ledger.MODELS.insert().values(stored))
        ledger.begin(connection, name, version, generation, range(partitions))

    def _complete(self, connection: Connection, projection: ReadModel[Any], generation: str, partitions: int) -> None:
        name = projection.name
        stored = [one for one in _positions(connection).values() if one.projection == name]
        for one in stored:
            if one.generation != generation:
                raise GenerationError(ledger.another_log(name, self.database.name, one.generation, generation))
        missing = set(range(partitions)) - {one.partition for one in stored}
        ledger.begin(connection, name, projection.version, generation, sorted(missing))

    def _refuse_foreign(self, connection: Connection, name: str) -> None:
        if inspect(connection).has_table(name):
            raise ValueError(
                f"{self.database.name} has a table {name!r} that is no view of engage: give the projection another "
                "name, or engage a database of its own"
            )


def _positions(connection: Connection) -> dict[tuple[str, int], Position]:
    columns = [ledger.POSITIONS.c[name] for name in Position.__struct_fields__]
    found = (Position(*row) for row in connection.execute(select(*columns)))
    return {(position.projection, position.partition): position for position in found}
