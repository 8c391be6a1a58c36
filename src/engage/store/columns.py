"""What column a row's field becomes, and how its values go into SQLite and PostgreSQL and come back the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from math import isfinite
from typing import Any

import msgspec
from msgspec import inspect as shapes
from sqlalchemy import BigInteger, Boolean, Column, Date, DateTime, Double, Numeric, Text, TypeDecorator
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine, UserDefinedType

from engage.views.columns import plain_shape

Convert = Callable[[Any], Any]
ConvertAll = Callable[[Sequence[Any]], Sequence[Any]]

NULL = "null"
"""What JSON has for an infinite number, and for one that is none."""

_JSON_SHAPES = (
    shapes.AnyType,
    shapes.RawType,
    shapes.ListType,
    shapes.TupleType,
    shapes.VarTupleType,
    shapes.SetType,
    shapes.FrozenSetType,
    shapes.DictType,
    shapes.StructType,
)


class Jsonb(UserDefinedType[Any]):
    """PostgreSQL's JSONB, handed over as text: engage encodes and decodes it itself, with the field's own type."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The name of the type in DDL."""
        return "JSONB"


class Kind:
    """How values of one field are kept in one database: the SQL type, and what to do with a value on its way.

    ``encode`` and ``decode`` are None where the driver already does it; neither is asked for NULL. ``encode_all`` does
    what ``encode`` does to all values of a column, among which NULL may be. ``finite``: ``encode`` refuses what is JSON
    and holds an infinite number, or one that is none.
    """

    def __init__(
        self,
        sql: TypeEngine[Any],
        encode: Convert | None = None,
        decode: Convert | None = None,
        encode_all: ConvertAll | None = None,
        *,
        finite: bool = False,
    ) -> None:
        self.sql = sql
        self.encode = encode
        self.decode = decode
        self.finite = finite
        self.encode_all: ConvertAll | None = encode_all or (encode and partial(_each, encode))


class Stored(TypeDecorator[Any]):
    """A ``Kind`` as a SQLAlchemy column type, so that hand-written selects see the same values as ``ViewStore``."""

    impl = Text
    cache_ok = True

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind = kind

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type that the database declares."""
        return dialect.type_descriptor(self.kind.sql)

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """A Python value as the driver takes it."""
        return value if value is None or self.kind.encode is None else self.kind.encode(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """What the driver returns as the field's Python value."""
        return value if value is None or self.kind.decode is None else self.kind.decode(value)


class Moment(TypeDecorator[datetime]):
    """A moment in one of engage's own tables, in either database as a read model's moments are in its own."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type that the database declares."""
        return dialect.type_descriptor(moment_kind(sqlite=dialect.name == "sqlite").sql)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """A moment as the driver takes it."""
        return None if value is None else _encoded(moment_kind(sqlite=dialect.name == "sqlite"), value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """What the driver returns as a moment."""
        kind = moment_kind(sqlite=dialect.name == "sqlite")
        moment: datetime | None = value if value is None or kind.decode is None else kind.decode(value)
        return moment


def moment_kind(*, sqlite: bool) -> Kind:
    """How moments are kept."""
    return _INSTANT_TEXT if sqlite else _TIMESTAMPTZ


def as_it_is(value: Any) -> Any:
    """What stands for an ``encode`` or ``decode`` that is None."""
    return value


def kind_of(shape: shapes.Type, hint: Any, *, sqlite: bool) -> Kind | None:
    """The kind of a field of this msgspec ``shape`` and type ``hint``; None if no column can hold it."""
    match plain_shape(shape):
        case shapes.StrType():
            return Kind(Text())
        case shapes.LiteralType(values=values) if all(isinstance(value, str) for value in values):
            return Kind(Text())
        case shapes.BoolType():
            return Kind(Boolean(create_constraint=False), decode=bool if sqlite else None)
        case shapes.IntType():
            return Kind(BigInteger())
        case shapes.FloatType():
            return Kind(Double())
        case shapes.DateTimeType():
            return moment_kind(sqlite=sqlite)
        case shapes.DateType():
            return Kind(Text(), date.isoformat, date.fromisoformat) if sqlite else Kind(Date())
        case shapes.DecimalType():
            return Kind(Text(), str, Decimal) if sqlite else Kind(Numeric())
        case shapes.UnionType() | shapes.Metadata():
            return None
        case found if isinstance(found, _JSON_SHAPES):
            decode = msgspec.json.Decoder(hint).decode
            if not _has_numbers(found):
                return Kind(Text() if sqlite else Jsonb(), _json_text, decode, _json_texts)
            return Kind(Text() if sqlite else Jsonb(), _finite_text, decode, _finite_texts, finite=True)
        case _:
            return None


def is_decimal_text(column: Column[Any]) -> bool:
    """Whether a column keeps exact decimals as text (SQLite has no such number), to be cast before it is sorted by."""
    return isinstance(column.type, Stored) and column.type.kind.decode is Decimal


def is_json_text(column: Column[Any]) -> bool:
    """Whether a column keeps JSON as text (SQLite), where an object whose names stand otherwise is another text."""
    if not isinstance(column.type, Stored):
        return False
    kind = column.type.kind
    return isinstance(kind.sql, Text) and kind.encode_all in (_json_texts, _finite_texts)


def refuse_without_offset(moment: datetime) -> None:
    """ValueError for what is no moment: without an offset nobody knows which one it is."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no UTC offset: a column holds moments, give it a time zone")


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is UTC:
        return moment
    refuse_without_offset(moment)
    return moment.astimezone(UTC)


_TAILS = {len('"2026-03-01T00:00:00.000000Z"'): "+00:00", len('"2026-03-01T00:00:00Z"'): ".000000+00:00"}
"""What follows on the seconds of a moment in UTC, by the length of its JSON; no other text is as long."""


def _instant_texts(moments: Sequence[datetime | None]) -> list[str | None]:
    # Always six digits and +00:00, so that texts sort as moments do and SQLite's own date functions read them.
    # The encoder writes a column of them in a twentieth of ``isoformat``'s time, two for each entry of the timeline.
    return [
        text[1:-2] + tail if (tail := _TAILS.get(len(text))) else None if moment is None else _instant_text(moment)
        for moment, text in zip(moments, _lines(moments), strict=True)
    ]


def _instant_text(moment: datetime) -> str:
    text = _encode(_utc(moment)).decode()
    return text[1:-2] + _TAILS[len(text)]


def _json_texts(values: Sequence[Any]) -> Sequence[str | None]:
    texts = _lines(values)
    if len(texts) != len(values):  # raw JSON that was written over several lines
        return [None if value is None else _json_text(value) for value in values]
    return [None if value is None else text for value, text in zip(values, texts, strict=True)]


def _finite_text(value: Any) -> str:
    """The JSON of a value with numbers; ValueError for one whose number JSON can only write as null."""
    text = _json_text(value)
    if NULL in text:
        _refuse_infinite(msgspec.to_builtins(value))
    return text


def _finite_texts(values: Sequence[Any]) -> Sequence[str | None]:
    texts = _json_texts(values)
    for value, text in zip(values, texts, strict=True):
        if text is not None and NULL in text:
            _refuse_infinite(msgspec.to_builtins(value))
    return texts


def _refuse_infinite(value: Any) -> None:
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"a number in it is {value}: JSON has finite numbers alone, null where there is none")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        _refuse_infinite(part)


def _has_numbers(shape: shapes.Type, inside: tuple[type, ...] = ()) -> bool:
    """Whether a value of this shape may hold a float, at any depth."""
    if isinstance(shape, shapes.FloatType | shapes.AnyType):
        return True
    if isinstance(shape, shapes.StructType):
        return shape.cls not in inside and any(_has_numbers(field.type, (*inside, shape.cls)) for field in shape.fields)
    parts = [getattr(shape, name, None) for name in ("type", "item_type", "key_type", "value_type")]
    several = [*getattr(shape, "types", ()), *getattr(shape, "item_types", ())]
    return any(_has_numbers(one, inside) for one in [*parts, *several] if isinstance(one, shapes.Type))


def _json_text(value: Any) -> str:
    return _encode(value).decode()


def _lines(values: Sequence[Any]) -> list[str]:
    """The JSON of each value, in a third of the time of a call for each."""
    return _encode_lines(values).decode().split("\n")[:-1]


def _each(encode: Convert, values: Sequence[Any]) -> list[Any]:
    return [None if value is None else encode(value) for value in values]


def _encoded(kind: Kind, value: Any) -> Any:
    return value if kind.encode is None else kind.encode(value)


_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines
_INSTANT_TEXT = Kind(Text(), _instant_text, datetime.fromisoformat, _instant_texts)
_TIMESTAMPTZ = Kind(DateTime(timezone=True), _utc, _utc)
