"""A read model's table: its columns from the row Struct, its SQL made once, its rows on their way in and out."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from math import isfinite
from operator import attrgetter
from typing import Any, cast, get_type_hints

import msgspec
from msgspec import Struct
from msgspec import inspect as shapes
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Executable,
    Index,
    MetaData,
    Table,
    delete,
    select,
    update,
)
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from engage.store.columns import Stored, as_it_is, kind_of, moment_kind
from engage.store.database import Statement
from engage.store.families import Slot, slotted
from engage.store.row_copying import COPIED, CopiedRows
from engage.store.row_writing import Part, PostgresRows, RowWriter, SqliteRows
from engage.views.columns import described, description_of, is_nullable
from engage.views.projection import Projection, ReadModel

Values = tuple[Any, ...]
"""A row as SQLite's driver takes it, and a driver returns it: a value a column."""

_CHUNK = 1_000  # keys of one SELECT: SQLite before 3.32 takes no more than 999 and the gain beyond is nothing


class ViewTable:
    """The table of ``projection`` in one kind of database. TypeError for a row that no table can hold.

    Behind the row's own columns stand the framework's, which begin with an underscore. ``build`` names its indexes, so
    that those of the next one do not collide with it.
    """

    def __init__(self, projection: ReadModel[Any], *, sqlite: bool, slot: Slot = "live", build: int = 1) -> None:
        self.projection = projection
        self.name = slotted(projection.name, slot)
        self.table = table_of(projection, sqlite=sqlite, slot=slot, build=build)
        self._row = projection.row
        self._names = projection.row.__struct_fields__
        self.columns = [self.table.columns[name] for name in self._names]
        self.fingerprint = _fingerprint(projection, self.columns)
        self.waking = _wakes(projection)
        kinds = [column.type.kind for column in self.columns if isinstance(column.type, Stored)]
        self._encoders = [(place, kind.encode_all) for place, kind in enumerate(kinds) if kind.encode_all is not None]
        self._decoders = [(place, kind.decode) for place, kind in enumerate(kinds) if kind.decode is not None]
        numbers = [name for name, kind in zip(self._names, kinds, strict=True) if isinstance(kind.sql, Double)]
        self._numbers = [(name, attrgetter(name)) for name in numbers]
        moment = moment_kind(sqlite=sqlite)
        self._due_of = moment.encode or as_it_is
        self._moment_of = moment.decode or as_it_is
        dialect = SQLiteDialect_pysqlite() if sqlite else PGDialect_psycopg(paramstyle="format")  # type: ignore[no-untyped-call]
        quote = dialect.identifier_preparer
        columns = ", ".join(quote.format_column(column) for column in self.columns)
        self.key = self._names[0]
        self._key_column = self.table.columns[self.key]
        self._key_of = attrgetter(self.key)
        self._quoted_key = quote.format_column(self._key_column)
        self._quoted_name = quote.format_table(self.table)
        self._select = f"SELECT {columns} FROM {quote.format_table(self.table)}"
        # The server makes one JSON text of the rows, which takes this process a third of the time to read.
        self._whole = f"SELECT json_agg(wanted) FROM ({self._select} WHERE {self._quoted_key} = ANY(%s)) AS wanted"
        self._decode_whole: Callable[[bytes], list[Any]] = msgspec.json.Decoder(list[projection.row]).decode  # type: ignore[name-defined]
        self._writer: RowWriter = (
            SqliteRows(self.table, self.columns[0], self.encode)
            if sqlite
            else PostgresRows(self.table, self.columns, waking=self.waking)
        )
        self._copier = None if sqlite else CopiedRows(self.table, self.columns, waking=self.waking)
        mark = "?" if sqlite else "%s"
        self._of_partition = f"{self._select} WHERE _partition = {mark}"
        self._changed_since = (
            f"SELECT {columns}, _change, _position FROM {self._quoted_name} "
            f"WHERE _partition = {mark} AND _change > {mark} ORDER BY _change, {self._quoted_key} LIMIT {mark}"
        )
        self._due_keys = (
            f"SELECT {self._quoted_key} FROM {quote.format_table(self.table)} "
            f"WHERE _partition = {mark} AND _due IS NOT NULL AND _due <= {mark} ORDER BY _due, {self._quoted_key}"
        )
        self._delete = _compiled(delete(self.table).where(self._key_column == ""), dialect)
        self.sqlite = sqlite

    def encode(self, rows: Sequence[Struct]) -> list[Sequence[Any]]:
        """Rows, one at least, as columns of values that SQLite's driver takes; of a row ``decode`` makes it again."""
        columns: list[Sequence[Any]] = list(zip(*map(msgspec.structs.astuple, rows), strict=True))
        for place, encode_all in self._encoders:
            columns[place] = encode_all(columns[place])
        return columns

    def decode(self, values: Sequence[Any]) -> Any:
        """A row Struct from what the driver returned."""
        changed = list(values)
        for place, convert in self._decoders:
            if (value := changed[place]) is not None:
                changed[place] = convert(value)
        return self._row(*changed)

    def writing(self, parts: Sequence[Part], *, fresh: bool = False, copies: bool = True) -> list[Statement]:
        """What inserts rows, or replaces those whose keys are there, for ``Database.send``.

        ``fresh``: none of the keys is there; ``copies``: many may be copied. What it raises is of a row that no table
        takes.
        """
        for part in parts:
            self._refuse_infinite(part.rows)
        if copies and self._copier is not None and sum(len(part.rows) for part in parts) >= COPIED:
            copied = self._copier.writing([part for part in parts if part.rows], fresh=fresh)
            if copied is not None:
                return copied
        return self._writer.writing(parts)

    def _refuse_infinite(self, rows: Sequence[Any]) -> None:
        # SQLite would keep infinity, and what is no number as null; the JSON for PostgreSQL has null for both.
        # A column that is added up is finite if all of it are; that costs 20 ns a number.
        for name, number_of in self._numbers:
            if isfinite(sum(filter(None, map(number_of, rows)))):
                continue
            for number in map(number_of, rows):
                if number is not None and not isfinite(number):
                    raise ValueError(f"{name} is {number}: a column holds finite numbers, null where there is none")

    def write(self, connection: Connection, parts: Sequence[Part]) -> None:
        """Insert rows, or replace those whose keys are there: a few of them, none is copied."""
        for part in parts:
            self._refuse_infinite(part.rows)
        for sql, values in self._writer.writing(parts):
            connection.exec_driver_sql(sql, values)

    def delete(self, connection: Connection, keys: Sequence[str]) -> None:
        """Delete the rows of these keys, where there are any."""
        if keys:
            connection.exec_driver_sql(self._delete, [(key,) for key in keys])

    def load(self, connection: Connection, keys: Sequence[str]) -> dict[str, Any]:
        """The rows that exist of these keys, by key."""
        found = (connection.exec_driver_sql(*asked) for asked in self.selecting(keys))
        return self.loaded(values for rows in found for values in rows)

    def selecting(self, keys: Sequence[str]) -> list[Statement]:
        """What finds the rows of these keys, for ``loaded``."""
        if self.sqlite:
            chunks = (keys[start : start + _CHUNK] for start in range(0, len(keys), _CHUNK))
            return [
                (f"{self._select} WHERE {self._quoted_key} IN ({_marks(len(chunk))})", tuple(chunk)) for chunk in chunks
            ]
        return [(self._whole, (list(keys),))]

    def loaded(self, found: Iterable[Sequence[Any]]) -> dict[str, Any]:
        """The rows by key from what was found."""
        key_of = self._key_of
        if self.sqlite:
            return {key_of(row): row for row in map(self.decode, found)}
        return {key_of(row): row for (whole,) in found if whole for row in self._decode_whole(whole)}

    def scan(self, connection: Connection) -> Iterator[Any]:
        """Every row, in no order."""
        for values in connection.exec_driver_sql(self._select):
            yield self.decode(values)

    def of_partition(self, connection: Connection, partition: int) -> Iterator[Any]:
        """Every row of a partition, in no order."""
        for values in connection.exec_driver_sql(self._of_partition, (partition,)):
            yield self.decode(values)

    def dues(self, connection: Connection) -> dict[str, datetime]:
        """When each row wants to be woken, those that do."""
        due = self.table.columns._due
        return dict(connection.execute(select(self._key_column, due).where(due.is_not(None))).all())

    def due_keys(self, connection: Connection, partition: int, until: datetime) -> list[str]:
        """The keys of the partition's rows that want to be woken by then, those that have waited longest first."""
        # As text made once: to build and look up the statement took longer than to run it, which each batch does.
        found = connection.exec_driver_sql(self._due_keys, (partition, self._due_of(until)))
        return [key for (key,) in found]

    def keys_of(self, connection: Connection, partition: int, account: str) -> list[str]:
        """The keys of the partition's rows that have ``account`` in the column of that name."""
        columns = self.table.columns
        theirs = columns["_partition"] == partition, columns["account"] == account
        return list(connection.scalars(select(self._key_column).where(*theirs)))

    def first_due(self, number: int, partition: int) -> str:
        """What selects ``number`` and, as the driver returns it, when the partition's first row wants to be woken."""
        return (
            f"SELECT {int(number)}, _due FROM (SELECT _due FROM {self._quoted_name} "
            f"WHERE _partition = {int(partition)} AND _due IS NOT NULL ORDER BY _due LIMIT 1) AS first_{int(number)}"
        )

    def moment(self, stored: Any) -> datetime:
        """A moment from what the driver returned."""
        return cast("datetime", self._moment_of(stored))

    def never_wake(self, connection: Connection, keys: Iterable[str]) -> None:
        """Let these rows sleep: they stand still."""
        if self.waking:
            for key in keys:
                connection.execute(update(self.table).where(self._key_column == key).values(_due=None))

    def changed(
        self, connection: Connection, partition: int, after: int, limit: int | None = None, *, until: int | None = None
    ) -> list[tuple[str, Any, int, int]]:
        """Key, row, change and position of rows that changed after ``after``, and by ``until``, in that order."""
        table = self.table.columns
        found = select(*self.columns, table._change, table._position).where(
            table._partition == partition, table._change > after
        )
        if until is not None:
            found = found.where(table._change <= until)
        rows = connection.execute(found.order_by(table._change, self._key_column).limit(limit))
        return [(values[0], self.row(values), change, position) for *values, change, position in rows]

    def changed_since(self, partition: int, after: int, limit: int) -> Statement:
        """What finds rows that changed after ``after``, in that order, for ``changed_rows``."""
        return self._changed_since, (partition, after, limit)

    def changed_rows(self, found: Sequence[Sequence[Any]]) -> list[tuple[str, Any, int, int]]:
        """Key, row, change and position."""
        return [(values[0], self.decode(values), change, position) for *values, change, position in found]

    def row(self, values: Sequence[Any]) -> Any:
        """A row Struct from what SQLAlchemy returned: it has decoded, for every column's type is a ``Stored``."""
        return self._row(**dict(zip(self._names, values, strict=True)))


@lru_cache(maxsize=256)
def view_table(projection: ReadModel[Any], *, sqlite: bool, slot: Slot = "live") -> ViewTable:
    """The ``ViewTable`` of a read model, made once a process and those it forks: it takes 3 ms, and holds no state."""
    return ViewTable(projection, sqlite=sqlite, slot=slot)


def table_of(projection: ReadModel[Any], *, sqlite: bool, slot: Slot = "live", build: int = 1) -> Table:
    """The table of a projection: a column a field, the first its primary key, comments from the row's docstring.

    A column's comment is its ``Meta(description=...)``, or the docstring's line that begins with its name and a colon.
    """
    row, name = projection.row, projection.name
    fields = shapes.type_info(row).fields  # type: ignore[attr-defined]  # of a Struct
    hints = get_type_hints(row, include_extras=True)
    about = inspect.cleandoc(row.__doc__ or "")
    said = described(about)
    columns: list[Column[Any]] = []
    for place, field in enumerate(fields):
        kind = kind_of(field.type, hints[field.name], sqlite=sqlite)
        if kind is None:
            raise TypeError(f"projection {name!r}: no column can hold {field.name!r}, which is {hints[field.name]}")
        if place == 0 and hints[field.name] is not str:
            raise TypeError(f"projection {name!r}: the first field is the row's key, {field.name!r} must be a str")
        if place > 0 and field.required:
            raise TypeError(f"projection {name!r}: {field.name!r} needs a default, a fresh row has only its key")
        comment = description_of(field.type) or said.get(field.name)
        nullable = is_nullable(field.type)
        columns.append(Column(field.name, Stored(kind), primary_key=place == 0, nullable=nullable, comment=comment))
    columns += _framework_columns(sqlite)
    about = about.split("\n\n")[0].replace("\n", " ")
    table = Table(slotted(name, slot), MetaData(), *columns, comment=about or None)
    for names in projection.indexes:
        missing = [column for column in names if column not in table.columns]
        if missing:
            raise TypeError(f"projection {name!r}: there is no column {missing[0]!r} to index")
        Index(_index_name(name, "_".join(names), build), *(table.columns[column] for column in names))
    partition, due = table.columns._partition, table.columns._due
    if not projection.append_only:  # its rows never change: whoever follows it reads the log
        Index(_index_name(name, "_change", build), partition, table.columns._change)
    if _wakes(projection):
        waits = due.is_not(None)
        Index(_index_name(name, "_due", build), partition, due, sqlite_where=waits, postgresql_where=waits)
    return table


def _framework_columns(sqlite: bool) -> list[Column[Any]]:
    return [
        Column("_partition", BigInteger, nullable=False, comment="the partition of the log that its key belongs to"),
        Column("_position", BigInteger, nullable=False, comment="the log position its last change was committed with"),
        Column("_change", BigInteger, nullable=False, comment="which change of the view on its partition that was"),
        Column("_due", Stored(moment_kind(sqlite=sqlite)), comment="when it changes although nothing happens"),
    ]


def _wakes(projection: ReadModel[Any]) -> bool:
    return isinstance(projection, Projection) and projection.due is not None


def _index_name(name: str, what: str, build: int) -> str:
    found = f"{name}_by_{what}" + (f"_{build}" if build > 1 else "")
    # PostgreSQL knows a name by 63 bytes.
    return found if len(found) <= 63 else f"{found[:46]}_{hashlib.sha256(found.encode()).hexdigest()[:16]}"


def _fingerprint(projection: ReadModel[Any], columns: Iterable[Column[Any]]) -> str:
    """The same for the same columns: names, types (also inside JSON), defaults, indexes, wakes; words do not."""
    types = [str(column.type.kind.sql) for column in columns if isinstance(column.type, Stored)]
    shape = _without_words(msgspec.json.schema(projection.row))
    told = msgspec.json.encode(
        [projection.row.__struct_fields__, types, projection.indexes, shape, _wakes(projection)], order="deterministic"
    )
    return hashlib.sha256(told).hexdigest()


def _without_words(schema: Any) -> Any:
    if isinstance(schema, dict):
        kept = {name: value for name, value in schema.items() if name != "description" or not isinstance(value, str)}
        return {name: _without_words(value) for name, value in kept.items()}
    return [_without_words(value) for value in schema] if isinstance(schema, list) else schema


def _compiled(statement: Executable, dialect: SQLiteDialect_pysqlite | PGDialect_psycopg) -> str:
    return str(statement.compile(dialect=dialect))  # type: ignore[attr-defined]


@lru_cache(maxsize=2 * _CHUNK)
def _marks(count: int) -> str:
    return ",".join("?" * count)
