"""What may be asked of the read models in a database, by those who fold them and by those who only read."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeVar

from msgspec import Struct, field
from sqlalchemy import Connection, Float, cast, func, inspect, select, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from engage.store import deletions, pauses
from engage.store import positions as ledger
from engage.store.beginning import position_of
from engage.store.columns import is_decimal_text
from engage.store.database import Database
from engage.store.families import Slot, slotted
from engage.store.pauses import Paused
from engage.store.positions import Marks, Position, StoredModel
from engage.store.tables import ViewTable, view_table
from engage.views.aggregate import Aggregate
from engage.views.parking import Parked, Stops
from engage.views.projection import ReadModel

Changed = tuple[str, Any, int, int]
"""A key, its row or None if it is gone, the number of the change, the log position it was committed with."""
_FOR_EVER = datetime.max.replace(tzinfo=UTC)
R = TypeVar("R", bound=Struct)
O = TypeVar("O", bound=Struct)  # noqa: E741  # what is read


class ViewMissingError(LookupError):
    """Nobody has folded this view here yet: ``engage up`` or ``engage demo`` does."""


class ViewRebuildingError(ViewMissingError):
    """This view is folded from the log just now, and half of it would be wrong: ask again when it is there."""


class Standing(Struct):
    """Where the read models stand by (name, partition); by name what is parked, in which shape, and what is paused.

    ``marks`` say in which state their rows are: whoever folds on from here notices whoever writes meanwhile.
    ``announces`` is from which offset on they tell the log what they have to say, where that is known.
    """

    positions: dict[tuple[str, int], Position]
    stops: dict[str, Stops] = field(default_factory=dict)
    models: dict[str, StoredModel] = field(default_factory=dict)
    paused: dict[str, Paused] = field(default_factory=dict)
    marks: Marks = field(default_factory=dict)
    announces: dict[tuple[str, int], int] = field(default_factory=dict)

    def at(self, model: ReadModel[Any], slot: Slot = "live") -> dict[int, int]:
        """How far a read model has come, by partition; nothing if it is not there."""
        return position_of(self.positions, slotted(model.name, slot))

    def stopped(self, models: Sequence[ReadModel[Any]], slot: Slot = "live") -> dict[str, Stops]:
        """What is parked, by model."""
        names = {model.name: slotted(model.name, slot) for model in models}
        return {name: self.stops[stored] for name, stored in names.items() if stored in self.stops}


class Rows:
    """The rows of one moment, for a fold that reads many read models: one transaction for all, begun when asked."""

    def __init__(self, reader: ViewReader, opening: ExitStack, slot: Slot) -> None:
        self._reader = reader
        self._opening = opening
        self._slot = slot

    @cached_property
    def _connection(self) -> Connection:
        return self._opening.enter_context(self._reader.database.read())

    def load(self, model: ReadModel[Any], keys: Sequence[str]) -> dict[str, Any]:
        """The rows that exist of these keys, by key, fresh ones each time."""
        return self._reader.table(model, self._slot).load(self._connection, keys)

    def load_all(self, wanted: Sequence[tuple[ReadModel[Any], Sequence[str]]]) -> list[dict[str, Any]]:
        """``load`` for several read models at once."""
        if not wanted:
            return []
        tables = [self._reader.table(model, self._slot) for model, _ in wanted]
        selects = [table.selecting(keys) for table, (_, keys) in zip(tables, wanted, strict=True)]
        found = iter(self._reader.database.ask(self._connection, list(itertools.chain.from_iterable(selects))))
        return [
            table.loaded(itertools.chain.from_iterable(itertools.islice(found, len(asked))))
            for table, asked in zip(tables, selects, strict=True)
        ]

    def first_dues(self, places: Sequence[tuple[ReadModel[Any], int]]) -> list[datetime | None]:
        """When the first row of each model on its partition wants to be woken; None where none does."""
        if not places:
            return []
        found = self._connection.exec_driver_sql(self._reader.first_dues(places, self._slot)).all()
        moment = self._reader.table(places[0][0], self._slot).moment
        dues = {place: moment(due) for place, due in found}
        return [dues.get(place) for place in range(len(places))]

    def due_keys(self, model: ReadModel[Any], partition: int, until: datetime) -> list[str]:
        """The keys of a partition's rows that want to be woken by then."""
        return self._reader.table(model, self._slot).due_keys(self._connection, partition, until)

    def keys_of(self, model: ReadModel[Any], partition: int, account: str) -> list[str]:
        """The keys of a partition's rows that are an account's."""
        return self._reader.table(model, self._slot).keys_of(self._connection, partition, account)


class ViewReader:
    """Reads the read models in ``database``."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._tables: dict[tuple[ReadModel[Any], Slot], ViewTable] = {}
        self._whole: set[ReadModel[Any]] = set()

    def table(self, projection: ReadModel[Any], slot: Slot = "live") -> ViewTable:
        """The table of a read model in this database; TypeError if no table can hold its rows."""
        table = self._tables.get((projection, slot))
        if table is None:
            table = view_table(projection, sqlite=self.database.sqlite, slot=slot)
            self._tables[projection, slot] = table
        return table

    def standing(self) -> Standing:
        """How everything stands, as of one moment."""
        with self.database.read() as connection:
            paused, *found = self.database.ask(connection, [pauses.PAUSED, *ledger.EVERYTHING])
            stands, stops, models, marks, announces = ledger.understood(found)
            return Standing(stands, stops, models, pauses.pauses(connection) if paused else {}, marks, announces)

    @contextmanager
    def rows(self, slot: Slot = "live") -> Iterator[Rows]:
        """The rows of one moment, that of the first question."""
        with ExitStack() as opening:
            yield Rows(self, opening, slot)

    def stops(self) -> dict[str, Stops]:
        """What is parked, by name."""
        with self.database.read() as connection:
            return ledger.stops(connection)

    def paused(self) -> dict[str, Paused]:
        """Which read models are paused, since when and by whom, by name."""
        with self.database.read() as connection:
            return pauses.pauses(connection)

    def positions(self) -> list[Position]:
        """How far every read model in this database has come, by name and partition."""
        with self.database.read() as connection:
            return [position for _, position in sorted(ledger.positions(connection).items())]

    def behind(self, models: Sequence[ReadModel[Any]], partition: int, offset: int) -> dict[str, int]:
        """Which of these do not include the event whose token is ``partition:offset`` yet, and how far each is."""
        with self.database.read() as connection:
            return ledger.behind(connection, [model.name for model in models], partition, offset)

    def reached(self, projections: Collection[str]) -> tuple[dict[tuple[str, int], int], dict[str, Paused]]:
        """Up to which token each of these includes everything, by name and partition; and what is paused."""
        with self.database.read() as connection:
            asked = [ledger.reaching(self.database, projections), pauses.PAUSED]
            found, paused = self.database.ask(connection, asked)
            return ledger.reached(found), pauses.pauses(connection) if paused else {}

    def parked(self, projection: ReadModel[Any], slot: Slot = "live") -> list[Parked]:
        """What stands still in a read model, in the order of the log."""
        table = ledger.PARKED.c
        columns = [table[name] for name in Parked.__struct_fields__]
        ours = table.projection == slotted(projection.name, slot)
        with self.database.read() as connection:
            found = connection.execute(select(*columns).where(ours).order_by(table.partition, table.offset))
            return [Parked(*row) for row in found]

    def load(self, projection: ReadModel[Any], keys: Sequence[str], slot: Slot = "live") -> dict[str, Any]:
        """The rows that exist of these keys, by key, fresh ones each time."""
        with self.database.read() as connection:
            return self.table(projection, slot).load(connection, keys)

    def due_keys(self, projection: ReadModel[Any], partition: int, until: datetime, slot: Slot = "live") -> list[str]:
        """The keys of a partition's rows that want to be woken by then."""
        with self.database.read() as connection:
            return self.table(projection, slot).due_keys(connection, partition, until)

    def next_dues(self, models: Sequence[ReadModel[Any]], partitions: Iterable[int]) -> dict[int, datetime]:
        """When the first row of these read models wants to be woken, by partition, those of them where one does."""
        places = tuple((model, partition) for model in models for partition in partitions)
        statement = self.first_dues(places)
        if not statement:
            return {}
        with self.database.read() as connection:
            found = connection.exec_driver_sql(statement).all()
        moment, dues = self.table(models[0]).moment, dict[int, datetime]()
        for place, due in found:
            partition = places[place][1]
            dues[partition] = min(moment(due), dues.get(partition, _FOR_EVER))
        return dues

    def first_dues(self, places: Sequence[tuple[ReadModel[Any], int]], slot: Slot = "live") -> str:
        """One statement for when the first row wants to be woken: the number of the place and the moment, where any.

        It is asked of many models at once, and of most there is nothing to say.
        """
        parts = [self.table(model, slot).first_due(at, partition) for at, (model, partition) in enumerate(places)]
        return " UNION ALL ".join(parts)

    def count(self, projection: ReadModel[Any], slot: Slot = "live") -> int:
        """How many rows there are."""
        with self.database.read() as connection:
            return int(connection.scalar(select(func.count()).select_from(self.table(projection, slot).table)) or 0)

    def tally(
        self, projection: ReadModel[Any], column: str, values: Sequence[Any], *, below: tuple[str, Any] | None = None
    ) -> int:
        """How many rows have one of these values there; ``below``: and less than a value in another column.

        KeyError for a column that the read model has not; ViewMissingError if nobody has folded this view here.
        """
        table = self.table(projection)
        columns = {one.name: one for one in table.columns}
        statement = select(func.count()).select_from(table.table).where(columns[column].in_(values))
        if below is not None:
            statement = statement.where(columns[below[0]] < below[1])
        with self.reading(projection) as connection:
            return int(connection.scalar(statement) or 0)

    @contextmanager
    def snapshot(
        self, projection: ReadModel[Any], slot: Slot = "live"
    ) -> Iterator[tuple[dict[int, int], Iterator[Any]]]:
        """The positions by partition and every row of a read model, of one moment.

        ViewMissingError if nobody has folded this view here.
        """
        with self.one_state(projection, slot) as connection:
            standing = position_of(ledger.positions(connection), slotted(projection.name, slot))
            yield standing, self.table(projection, slot).scan(connection)

    @contextmanager
    def snapshot_with_dues(
        self, projection: ReadModel[Any], slot: Slot = "live"
    ) -> Iterator[tuple[dict[int, int], Iterator[Any], dict[str, datetime]]]:
        """As ``snapshot``, and when each row wants to be woken; also of a view that is not all there yet."""
        with self._one_state(projection, slot) as connection:
            standing = position_of(ledger.positions(connection), slotted(projection.name, slot))
            table = self.table(projection, slot)
            yield standing, table.scan(connection), table.dues(connection)

    def get(self, projection: ReadModel[R], key: str) -> R | None:
        """The row of ``key``; ViewMissingError if nobody has folded this view here."""
        row: R | None
        with self.reading(projection) as connection:
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
        table = self.table(projection)
        columns = {column.name: column for column in table.columns}
        statement = select(*table.columns)
        for name, value in (where or {}).items():
            column = columns[name]
            statement = statement.where(column.is_(None) if value is None else column == value)
        if below is not None:
            statement = statement.where(columns[below[0]] < below[1])
        for name in dict.fromkeys((order or table.key, table.key)):
            column = columns[name]
            by = cast(column, Float) if is_decimal_text(column) else column
            statement = statement.order_by(by.desc() if descending else by.asc())
        with self.reading(projection) as connection:
            found = connection.execute(statement.limit(limit))
            return [projection.row(**dict(zip(columns, row, strict=True))) for row in found]

    def merged(self, aggregate: Aggregate[Any, O]) -> list[O]:
        """What readers get of an aggregate; ViewMissingError if nobody has folded it here."""
        with self.reading(aggregate) as connection:
            return aggregate.merged(self.table(aggregate).scan(connection))

    def changes(self, model: ReadModel[Any], partition: int, after: int, limit: int) -> list[Changed]:
        """The rows of a partition that changed after change ``after``, in order, each once, with its last change.

        About ``limit`` of them: a change is never cut in two. Go on from the last one's change while there are any.
        ValueError for a read model that is only appended to: follow the log, a record of it is a row.
        """
        if model.append_only:
            raise ValueError(f"view {model.name!r} is only appended to, its rows follow the log: follow the log itself")
        table = self.table(model)
        with self.reading(model) as connection:
            rows = table.changed(connection, partition, after, limit)
            gone = deletions.since(connection, model.name, partition, after, limit)
            last = [found[-1][2] for found in (rows, gone) if len(found) == limit]
            if last:  # there may be more: all of the changes up to where the first of the two was cut
                rows = table.changed(connection, partition, after, until=min(last))
                gone = deletions.since(connection, model.name, partition, after, until=min(last))
        found = rows + [(key, None, change, position) for key, _, change, position in gone]
        return sorted(found, key=lambda one: (one[2], one[0]))

    def changes_of_all(
        self, after: Mapping[ReadModel[Any], int], partition: int, limit: int
    ) -> list[tuple[ReadModel[Any], list[Changed]]]:
        """``changes`` of several read models, each behind a change of its own; not of those that are not all there."""
        whole, answers = list[ReadModel[Any]](), list[list[Any]]()
        with suppress(OperationalError, ProgrammingError), self.database.read() as connection:
            for model in after:
                with suppress(ViewMissingError):
                    self._see_whole(connection, model)
                    whole.append(model)
            asked = [self.table(model).changed_since(partition, after[model], limit) for model in whole]
            asked += [deletions.first_since(self.database, model.name, partition, after[model]) for model in whole]
            answers = self.database.ask(connection, asked)
        found: list[tuple[ReadModel[Any], list[Changed]]] = []
        for place, model in enumerate(whole):
            if answers and len(answers[place]) < limit and not answers[len(whole) + place]:
                found.append((model, self.table(model).changed_rows(answers[place])))
            else:  # more than fits, deletions among them, or a table that was exchanged just now
                with suppress(ViewMissingError):
                    found.append((model, self.changes(model, partition, after[model], limit)))
        return found

    def last_changes(self, model: ReadModel[Any]) -> dict[int, int]:
        """The number of the last change of a read model, by partition: from there on its changes are new ones."""
        with self.database.read() as connection:
            return ledger.last_changes(connection, model.name)

    def epoch(self, model: ReadModel[Any]) -> str | None:
        """While it stays the same, changes are counted on: another one makes void what was read by number."""
        with self.database.read() as connection:
            return self.epoch_here(connection, model)

    def epoch_here(self, connection: Connection, model: ReadModel[Any]) -> str | None:
        """The epoch, as of a transaction."""
        stored = ledger.models(connection).get(model.name)
        return None if stored is None else stored.epoch

    @contextmanager
    def one_state(self, projection: ReadModel[Any], slot: Slot = "live") -> Iterator[Connection]:
        """A transaction in which a whole table is read, all of one moment, however long it takes.

        ViewMissingError if nobody has folded this view here.
        """
        if slot == "live":
            with self.reading(projection):  # only to refuse what is missing, or not all there
                pass
        with self._one_state(projection, slot) as connection:
            yield connection

    @contextmanager
    def _one_state(self, projection: ReadModel[Any], slot: Slot) -> Iterator[Connection]:
        with self.database.read() as connection:
            if not self.database.sqlite:
                # Before anything is read: else a table that is put in its place meanwhile was read at another moment.
                name = connection.dialect.identifier_preparer.quote(slotted(projection.name, slot))
                connection.execute(text(f"LOCK TABLE {name} IN ACCESS SHARE MODE"))
            yield connection

    @contextmanager
    def reading(self, projection: ReadModel[Any]) -> Iterator[Connection]:
        """A transaction that reads; ViewMissingError if nobody has folded this view here."""
        try:
            with self.database.read() as connection:
                self._see_whole(connection, projection)
                yield connection
        except (OperationalError, ProgrammingError) as error:
            if not inspect(self.database.engine).has_table(projection.name):
                raise self._missing(projection) from error
            if projection in self._whole:  # what was whole may have been exchanged for other columns
                self._whole.discard(projection)
                with self.database.read() as connection:
                    self._see_whole(connection, projection)
            raise

    def _see_whole(self, connection: Connection, projection: ReadModel[Any]) -> None:
        """ViewRebuildingError for a view of other columns than ours, and for one that is not all there yet."""
        if projection in self._whole:
            return
        stored = ledger.models(connection).get(projection.name)
        standing = ledger.positions(connection)
        stands = position_of(standing, projection.name)
        paused = pauses.pauses(connection).get(projection.name)
        if stored is None:
            ahead = position_of(standing, slotted(projection.name, "next"))
            base = projection.of if isinstance(projection, Aggregate) else None
            if not ahead or base is None:
                raise self._missing(projection)
            raise _rebuilding(projection.name, ahead, position_of(standing, base.name), paused)
        if stored.columns != self.table(projection).fingerprint:
            ahead = position_of(standing, slotted(projection.name, "next"))
            raise _rebuilding(projection.name, ahead, stands, paused)
        until = ledger.readable_from(connection, projection.name)
        if any(stands[partition] < end for partition, end in until.items()):
            raise _rebuilding(projection.name, stands, until, paused)
        self._whole.add(projection)

    def _missing(self, projection: ReadModel[Any]) -> ViewMissingError:
        return ViewMissingError(
            f"there is no view {projection.name!r} in {self.database.name} yet: start engage (`engage up`), it "
            "folds it from the log"
        )


def _rebuilding(
    name: str, stands: Mapping[int, int], until: Mapping[int, int], paused: Paused | None
) -> ViewRebuildingError:
    done = sum(min(stands.get(partition, 0), end) for partition, end in until.items())
    told = f"the view {name!r} is being rebuilt, {done:,} of {sum(until.values()):,} records are folded"
    if paused is not None:
        return ViewRebuildingError(f"{told}, and it is {paused}: `engage projections resume {name}` lets it go on")
    return ViewRebuildingError(f"{told}: ask again when it is there (`engage status` says how far it is)")
