"""One event data of any catalogued type, made from its declaration: with everything it can hold, or the least."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import inspect

from engage.events.catalogue import BY_CLASS
from engage.events.catalogue.base import EventData


def sample(kind: type[EventData], *, bare: bool) -> Any:
    """Data of type ``kind``: required fields only if ``bare``; personal fields say PERSONAL."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    personal = BY_CLASS[kind].personal
    values = {
        field.encode_name: "PERSONAL" if field.encode_name in personal else _value(field.encode_name, field.type, bare)
        for field in info.fields
        if field.required or not bare or kind.__name__ == "CheckoutStarted"
    }
    return msgspec.convert(values, kind)


def _value(name: str, kind: inspect.Type, bare: bool) -> Any:
    match kind:
        case inspect.Metadata(type=inner):
            return _value(name, inner, bare)
        case inspect.UnionType(types=types):
            return _value(name, next(one for one in types if not isinstance(one, inspect.NoneType)), bare)
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.DateTimeType():
            return "2026-03-01T00:00:00Z"
        case inspect.BoolType():
            return True
        case inspect.IntType() | inspect.FloatType():
            return 1
        case inspect.StructType(fields=fields):
            return {field.encode_name: _value(field.encode_name, field.type, bare) for field in fields}
        case inspect.DictType():
            return {}
        case inspect.StrType(pattern=pattern):
            return (
                {"currency": "USD", "country": "PT", "language": "pt", "time_zone": "UTC"}.get(name, name)
                if pattern
                else name
            )
        case _:
            return []
