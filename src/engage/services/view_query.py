"""The query language of read models: parameters as texts, checked against a model's columns, become a ``Question``.

``COLUMN=VALUE`` asks for equality; ``COLUMN__TEST=VALUE`` for another test: ``eq ne lt le gt ge in prefix null``.
``sort=-score,account`` orders, a minus for descending; ``fields=account,score`` picks columns; ``limit`` and ``cursor``
page. What a page ended with is its cursor, which belongs to the same question: it stays right while rows change.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, get_args

import msgspec
from msgspec import Struct

from engage.events.validation import Fault
from engage.near_names import meant
from engage.views.asking import Condition, Order, Question, Test
from engage.views.columns import ColumnType, ViewColumn, columns_of, seen_row
from engage.views.projection import ReadModel

LIMIT, MOST = 100, 1_000
"""Rows of a page, when nothing is said and at most."""
MOST_CONDITIONS, MOST_VALUES = 32, 500
PARAMETERS = ("sort", "fields", "limit", "cursor")
"""What is said of the answer; every other parameter is a condition on a column."""

_TESTS: tuple[Test, ...] = get_args(Test)
_KINDS: Mapping[ColumnType, Any] = {
    "text": str,
    "integer": int,
    "number": float,
    "decimal": Decimal,
    "boolean": bool,
    "moment": datetime,
    "date": date,
}
_DIGEST_BYTES = 9
_WORDS: Mapping[ColumnType, str] = {
    "integer": "a whole number",
    "number": "a number",
    "decimal": "a number",
    "boolean": "true or false",
    "moment": "a moment with its offset, as 2026-03-01T10:00:00Z (write + as %2B)",
    "date": "a day, as 2026-03-01",
}


class QueryError(ValueError):
    """The question does not fit the read model; ``faults`` point at the parameters, as ``/query/NAME``."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{fault.pointer.removeprefix('/query/')}: {fault.message}" for fault in faults))
        self.faults = tuple(faults)


class Shape(Struct, frozen=True):
    """A read model as it is asked: its name, its columns by name, its key."""

    name: str
    columns: dict[str, ViewColumn]
    key: str


def shape_of(model: ReadModel[Any]) -> Shape:
    """The shape of what readers get of a read model."""
    columns = columns_of(seen_row(model))
    return Shape(model.name, {column.name: column for column in columns}, columns[0].name)


def question(shape: Shape, parameters: Iterable[tuple[str, str]], *, whole: bool = False) -> Question:
    """The question that these parameters (names and values, a name may come again) ask.

    ``whole`` asks for all rows at once, in any order unless one is given, and takes no cursor. QueryError names every
    parameter that does not fit.
    """
    faults: list[Fault] = []
    said: dict[str, list[str]] = {}
    for name, value in parameters:
        if "\x00" in name or "\x00" in value:
            faults.append(_fault(name.replace("\x00", ""), "holds U+0000, which no column does"))
        said.setdefault(name, []).append(value)
    faults += [
        _fault(name, "is given twice: separate columns by commas") for name in PARAMETERS if len(said.get(name, ())) > 1
    ]
    if faults:
        raise QueryError(faults)
    where = _conditions(shape, {name: values for name, values in said.items() if name not in PARAMETERS}, faults)
    order = _order(shape, said.get("sort", [""])[0], faults)
    if order or not whole:
        order = (*order, *([] if any(one.column == shape.key for one in order) else [Order(shape.key)]))
    fields = _fields(shape, said.get("fields", [""])[0], faults)
    limit = _limit(said.get("limit"), whole, faults)
    after = None
    if "cursor" in said:
        if whole:
            faults.append(_fault("cursor", "is for pages: whole tables come in one answer"))
        elif not faults:
            after = _place(shape, where, order, said["cursor"][0], faults)
    if faults:
        raise QueryError(faults)
    return Question(fields, where, order, after, limit)


def cursor(shape: Shape, asked: Question, place: Sequence[Any]) -> str:
    """Where to read on behind a row that stands at ``place``: opaque, and good for the same question alone."""
    told = msgspec.json.encode([_digest(shape, asked.where, asked.order), *place])
    return base64.urlsafe_b64encode(told).decode().rstrip("=")


def _conditions(shape: Shape, said: Mapping[str, list[str]], faults: list[Fault]) -> tuple[Condition, ...]:
    found = []
    for name, values in said.items():
        column_name, _, test = name.rpartition("__") if "__" in name else (name, "", "eq")
        column = shape.columns.get(column_name)
        if column is None:
            told = f"{shape.name} has no column {column_name!r}: {meant(column_name, shape.columns)}"
            faults.append(_fault(name, told))
        elif test not in _TESTS:
            faults.append(_fault(name, f"there is no test {test!r}: {', '.join(_TESTS)}"))
        elif column.type == "json" and test != "null":
            faults.append(_fault(name, "is JSON: only __null can be asked of it"))
        elif test == "prefix" and column.type != "text":
            faults.append(_fault(name, f"is {column.type}: only a text begins with something"))
        elif test != "in" and len(values) > 1:
            faults.append(_fault(name, f"is given twice: {column_name}__in takes several values"))
        else:
            found.append(_condition(name, column, test, values, faults))
    if len(found) > MOST_CONDITIONS:
        faults.append(_fault("", f"{len(found)} conditions, and {MOST_CONDITIONS} are taken"))
    return tuple(one for one in found if one is not None)


def _condition(name: str, column: ViewColumn, test: Test, values: list[str], faults: list[Fault]) -> Condition | None:
    try:
        if test == "null":
            return Condition(column.name, test, _value("boolean", values[0]))
        if test == "in":
            parts = values[0].split(",") if len(values) == 1 else values
            if len(parts) > MOST_VALUES:
                raise ValueError(f"{len(parts)} values, and {MOST_VALUES} are taken")
            return Condition(column.name, test, tuple(_one_of(column, part) for part in parts))
        if test in ("eq", "ne"):
            return Condition(column.name, test, _one_of(column, values[0]))
        return Condition(column.name, test, _value(column.type, values[0]))
    except ValueError as error:
        faults.append(_fault(name, str(error)))
        return None


def _one_of(column: ViewColumn, text: str) -> Any:
    if column.values and text not in column.values:
        raise ValueError(f"{text!r} is none of {', '.join(column.values)}")
    return _value(column.type, text)


def _value(kind: ColumnType, text: str) -> Any:
    if kind == "text":
        return text
    try:
        value = msgspec.convert(text, _KINDS[kind], strict=False)
    except (msgspec.ValidationError, ArithmeticError):
        value = None
    if not _storable(value):
        raise ValueError(f"{text!r} is not {_WORDS[kind]}")
    return value


def _storable(value: Any) -> bool:
    match value:
        case None:
            return False
        case bool():
            return True
        case int():
            return -(2**63) <= value < 2**63
        case float() | Decimal():
            return math.isfinite(value)
        case datetime():
            return value.tzinfo is not None
    return True


def _order(shape: Shape, text: str, faults: list[Fault]) -> tuple[Order, ...]:
    found: dict[str, Order] = {}
    for part in filter(None, text.split(",")):
        name = part.removeprefix("-")
        column = shape.columns.get(name)
        if column is None or column.type == "json":
            strange = f"is no column of {shape.name}: {meant(name, shape.columns)}"
            faults.append(_fault("sort", f"{name!r} {'is JSON, which has no order' if column else strange}"))
        else:
            found.setdefault(name, Order(name, part.startswith("-")))
    return tuple(found.values())


def _fields(shape: Shape, text: str, faults: list[Fault]) -> tuple[str, ...]:
    if not text:
        return tuple(shape.columns)
    wanted = dict.fromkeys(text.split(","))
    if unknown := [name for name in wanted if name not in shape.columns]:
        told = "; ".join(f"{name!r} is no column of {shape.name}: {meant(name, shape.columns)}" for name in unknown)
        faults.append(_fault("fields", told))
    return tuple(wanted)


def _limit(said: list[str] | None, whole: bool, faults: list[Fault]) -> int | None:
    if said is None:
        return None if whole else LIMIT
    number = int(said[0]) if said[0].isascii() and said[0].isdecimal() and len(said[0]) < 16 else 0
    if number > 0 and (whole or number <= MOST):
        return number
    faults.append(_fault("limit", "a whole number from 1" + ("" if whole else f" to {MOST}")))
    return None


def _place(
    shape: Shape, where: tuple[Condition, ...], order: tuple[Order, ...], text: str, faults: list[Fault]
) -> tuple[Any, ...] | None:
    try:
        told = msgspec.json.decode(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        if not isinstance(told, list) or len(told) != len(order) + 1:
            raise ValueError("no place")
        digest, *values = told
        places = []
        for one, value in zip(order, values, strict=True):
            column = shape.columns[one.column]
            kind = _KINDS[column.type]
            found = msgspec.convert(value, kind | None if column.nullable else kind)
            if (found is not None and not _storable(found)) or (isinstance(found, str) and "\x00" in found):
                raise ValueError("no value of this column")
            places.append(found)
    except (ValueError, RecursionError):  # msgspec's errors among them
        faults.append(_fault("cursor", "is none of ours: take the `next` of the page before, as it is"))
        return None
    if digest != _digest(shape, where, order):
        faults.append(_fault("cursor", "belongs to another question: leave the conditions and the order as they were"))
        return None
    return tuple(places)


def _digest(shape: Shape, where: tuple[Condition, ...], order: tuple[Order, ...]) -> str:
    asked = msgspec.json.encode([shape.name, where, order])
    return base64.urlsafe_b64encode(hashlib.blake2b(asked, digest_size=_DIGEST_BYTES).digest()).decode()


def _fault(name: str, message: str) -> Fault:
    return Fault(f"/query/{name}" if name else "/query", message)
