"""Answers questions (``engage.views.asking``) from a read model's table: the same in SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import Struct
from sqlalchemy import Column, ColumnElement, Float, Select, and_, cast, false, func, literal, or_, select
from sqlalchemy.types import TypeEngine

from engage.store.columns import is_decimal_text
from engage.store.reader import ViewReader
from engage.store.tables import ViewTable
from engage.views.asking import Condition, Order, Question
from engage.views.projection import ReadModel

_ROWS_AT_ONCE = 500
_SURROGATES = range(0xD800, 0xE000)
_LAST_LETTER = 0x10FFFF


class Found(Struct, frozen=True):
    """A row of one key: its columns' values, and where it stands among the changes of the epoch."""

    values: tuple[Any, ...]
    epoch: str | None
    partition: int
    change: int


class Answers:
    """What ``reader`` answers. ViewMissingError, here and below, if nobody has folded the read model here."""

    def __init__(self, reader: ViewReader) -> None:
        self._reader = reader

    def page(self, model: ReadModel[Any], question: Question) -> list[tuple[tuple[Any, ...], tuple[Any, ...]]]:
        """Of each row the values of the fields asked for, and those of the columns that it is ordered by."""
        statement, fields = self._statement(model, question)
        with self._reader.reading(model) as connection:
            return [(tuple(row[:fields]), tuple(row[fields:])) for row in connection.execute(statement)]

    @contextmanager
    def stream(self, model: ReadModel[Any], question: Question) -> Iterator[Iterator[tuple[Any, ...]]]:
        """The values of the fields asked for, row by row, all of one moment; few rows are in memory at a time."""
        statement, fields = self._statement(model, question)
        with self._reader.one_state(model) as connection:
            rows = connection.execute(statement.execution_options(yield_per=_ROWS_AT_ONCE))
            yield (tuple(row[:fields]) for row in rows)

    def row(self, model: ReadModel[Any], key: str, fields: Iterable[str]) -> Found | None:
        """The row of ``key``, None if there is none."""
        table = self._reader.table(model)
        columns = table.table.columns
        wanted = [columns[name] for name in fields]
        statement = select(*wanted, columns._partition, columns._change).where(columns[table.key] == key)
        with self._reader.reading(model) as connection:
            found = connection.execute(statement).one_or_none()
            if found is None:
                return None
            *values, partition, change = found
            return Found(tuple(values), self._reader.epoch_here(connection, model), partition, change)

    def _statement(self, model: ReadModel[Any], question: Question) -> tuple[Select[Any], int]:
        table = self._reader.table(model)
        columns = table.table.columns
        ordered = [columns[one.column] for one in question.order]
        statement = select(*(columns[name] for name in question.fields), *ordered)
        statement = statement.where(
            *(condition(columns[one.column], one, sqlite=table.sqlite) for one in question.where)
        )
        if question.after is not None:
            statement = statement.where(_after(question.order, question.after, table))
        statement = statement.order_by(*(_by(columns[one.column], one) for one in question.order))
        return statement.limit(question.limit), len(question.fields)


def condition(column: Column[Any], one: Condition, *, sqlite: bool) -> ColumnElement[bool]:
    """A condition as SQL."""
    if one.test == "null":
        return column.is_(None) if one.value else column.is_not(None)
    if one.test == "prefix":
        return _begins(column, one.value, sqlite=sqlite)
    compared = _comparable(column)
    if one.test == "in":
        return compared.in_([_value(column, value) for value in one.value])
    value = _value(column, one.value)
    match one.test:
        case "eq":
            return compared == value
        case "ne":
            return compared.is_distinct_from(value)
        case "lt":
            return compared < value
        case "le":
            return compared <= value
        case "gt":
            return compared > value
        case _:
            return compared >= value


def _after(order: tuple[Order, ...], values: tuple[Any, ...], table: ViewTable) -> ColumnElement[bool]:
    """Behind a row whose columns have these values: later in the first column in which it is not the same."""
    columns = table.table.columns
    cases: list[ColumnElement[bool]] = []
    same: list[ColumnElement[bool]] = []
    for one, value in zip(order, values, strict=True):
        column = columns[one.column]
        compared = _comparable(column)
        if value is None:  # what is null is last: nothing is behind it but what is null as well
            cases.append(false())
            same.append(column.is_(None))
            continue
        bound = _value(column, value)
        later = compared < bound if one.descending else compared > bound
        cases.append(and_(*same, or_(later, column.is_(None)) if column.nullable else later))
        same.append(compared == bound)
    return or_(*cases)


def _by(column: Column[Any], one: Order) -> ColumnElement[Any]:
    compared = _comparable(column)
    by = compared.desc() if one.descending else compared.asc()
    # Said only where it matters: PostgreSQL has no use for an index whose nulls stand elsewhere.
    return by.nulls_last() if column.nullable else by


def _comparable(column: Column[Any]) -> ColumnElement[Any]:
    return cast(column, Float) if is_decimal_text(column) else column


def _value(column: Column[Any], value: Any) -> ColumnElement[Any]:
    if is_decimal_text(column):
        return literal(float(value))
    kind: TypeEngine[Any] = column.type
    return literal(value, kind)


def _begins(column: Column[Any], beginning: str, *, sqlite: bool) -> ColumnElement[bool]:
    if not sqlite:  # whatever order the database has its texts in
        return func.starts_with(column, beginning)
    following = _following(beginning)
    first = column >= beginning
    return first if following is None else and_(first, column < following)


def _following(beginning: str) -> str | None:
    """The first text, by code points, behind all that begin so; None if there is none."""
    letters = beginning.rstrip(chr(_LAST_LETTER))
    if not letters:
        return None
    last = ord(letters[-1]) + 1
    return letters[:-1] + chr(_SURROGATES.stop if last in _SURROGATES else last)
