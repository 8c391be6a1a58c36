"""What the columns of a read model are, for those who ask: names, types, whether they may be null, what they say."""

from __future__ import annotations

import inspect
import re
from typing import Any, Literal

from msgspec import Struct
from msgspec import inspect as shapes

from engage.views.aggregate import Aggregate
from engage.views.projection import ReadModel

ColumnType = Literal["text", "integer", "number", "decimal", "boolean", "moment", "date", "json"]
"""``moment`` is RFC 3339 with its offset; of ``json`` only whether it is null can be asked."""

_DESCRIBED = re.compile(r"^\s*`{0,2}(\w+)`{0,2}:\s+(.*)$")
_TYPES: tuple[tuple[type[shapes.Type], ColumnType], ...] = (
    (shapes.StrType, "text"),
    (shapes.LiteralType, "text"),
    (shapes.BoolType, "boolean"),
    (shapes.IntType, "integer"),
    (shapes.FloatType, "number"),
    (shapes.DecimalType, "decimal"),
    (shapes.DateTimeType, "moment"),
    (shapes.DateType, "date"),
)


class ViewColumn(Struct, frozen=True, omit_defaults=True):
    """A column: ``description`` names the unit; ``values`` are all that it can be, where they are few and fixed."""

    name: str
    type: ColumnType
    nullable: bool = False
    description: str = ""
    values: tuple[str, ...] = ()


def seen_row(model: ReadModel[Any]) -> type[Struct]:
    """What readers get a row of: an aggregate's merged rows, the stored ones of every other."""
    return model.reads if isinstance(model, Aggregate) else model.row


def columns_of(row: type[Struct]) -> tuple[ViewColumn, ...]:
    """The columns of a row Struct; the first one is its key."""
    said = described(inspect.cleandoc(row.__doc__ or ""))
    found = []
    for field in shapes.type_info(row).fields:  # type: ignore[attr-defined]  # of a Struct
        plain = plain_shape(field.type)
        values = tuple(map(str, plain.values)) if isinstance(plain, shapes.LiteralType) else ()
        words = description_of(field.type) or said.get(field.name, "")
        found.append(ViewColumn(field.name, _type_of(plain), is_nullable(field.type), words, values))
    return tuple(found)


def _type_of(shape: shapes.Type) -> ColumnType:
    for kind, name in _TYPES:
        if isinstance(shape, kind):
            return name
    return "json"


def is_nullable(shape: shapes.Type) -> bool:
    """Whether a field of this shape may be None."""
    if isinstance(shape, shapes.Metadata):
        return is_nullable(shape.type)
    return isinstance(shape, shapes.AnyType) or (isinstance(shape, shapes.UnionType) and shape.includes_none)


def plain_shape(shape: shapes.Type) -> shapes.Type:
    """A shape without its metadata, and without None if there is one other."""
    if isinstance(shape, shapes.Metadata):
        return plain_shape(shape.type)
    if isinstance(shape, shapes.UnionType):
        members = [member for member in shape.types if not isinstance(member, shapes.NoneType)]
        return plain_shape(members[0]) if len(members) == 1 else shape
    return shape


def described(about: str) -> dict[str, str]:
    """What a docstring says of each field: the lines that begin with its name and a colon."""
    found: dict[str, str] = {}
    name = ""
    for line in about.splitlines():
        if match := _DESCRIBED.match(line):
            name = match[1]
            found[name] = match[2]
        elif name and line.startswith(" "):
            found[name] += f" {line.strip()}"
        else:
            name = ""
    return found


def description_of(shape: shapes.Type) -> str | None:
    """The ``Meta(description=...)`` of a field."""
    return (shape.extra_json_schema or {}).get("description") if isinstance(shape, shapes.Metadata) else None
