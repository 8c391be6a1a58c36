"""An example of each event type, made from its declaration: for the documents, and for those who write a publisher."""

from __future__ import annotations

import re
from typing import Any

from msgspec import inspect

from engage.events.catalogue import FAMILIES
from engage.events.catalogue.base import EventType
from engage.events.envelope import MARKET_SUBJECT, PARTITION_SUBJECT
from engage.events.ours import OF_PARTITIONS, SPEAKERS

_MOMENT = "2026-03-01T10:00:00Z"
_BY_NAME = {"currency": "EUR", "country": "PT", "time_zone": "Europe/Lisbon", "email": "ada@example.com", "name": "Ada"}
_BY_PATTERN = {"^[A-Z]{3}$": "EUR", "^[A-Z]{2}$": "PT"}
_BEYOND_FIELDS = {"Checkout Started": {"cart_id": "cart-1"}}
"""What a type needs although none of its fields is required by itself."""
_MARKET = {module.__name__.rpartition(".")[2] for module in FAMILIES["market"]}


def example(kind: EventType, *, full: bool = True) -> dict[str, Any]:
    """An event of this type as its publisher writes it; ``full`` with every field of its data, else the smallest."""
    shape: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"{re.sub(r'[^a-z]+', '-', kind.name.lower())}-1",
        "source": SPEAKERS.get(kind.name, "urn:shop"),
        "type": kind.name,
        "subject": _subject(kind),
        "time": _MOMENT,
        "data": example_data(kind, full=full),
    }
    if kind.version > 1:
        shape["dataversion"] = kind.version
    return shape


def example_data(kind: EventType, *, full: bool = True) -> dict[str, Any]:
    """Its data alone."""
    data: dict[str, Any] = _value(inspect.type_info(kind.data), "", full)
    return data | _BEYOND_FIELDS.get(kind.name, {})


def _subject(kind: EventType) -> str:
    if kind.name in OF_PARTITIONS:
        return f"{PARTITION_SUBJECT}2"
    return f"{MARKET_SUBJECT}guitars" if kind.family in _MARKET else "customer-17"


def _value(kind: inspect.Type, name: str, full: bool) -> Any:
    match kind:
        case inspect.Metadata():
            return _value(kind.type, name, full)
        case inspect.StrType():
            return _BY_NAME.get(name) or _BY_PATTERN.get(kind.pattern or "") or _text(name)
        case inspect.IntType():
            return 2
        case inspect.FloatType():
            return 0.5 if kind.le == 1 else 2.5
        case inspect.BoolType():
            return True
        case inspect.DateTimeType():
            return _MOMENT
        case inspect.LiteralType():
            return _BY_NAME[name] if _BY_NAME.get(name) in kind.values else kind.values[0]
        case inspect.NoneType():
            return None
        case inspect.UnionType():
            return _value(next(one for one in kind.types if not isinstance(one, inspect.NoneType)), name, full)
        case inspect.VarTupleType():
            return [_value(kind.item_type, name, full)] if full else []
        case inspect.AnyType():
            return "value"
        case inspect.DictType():
            return {"key": _value(kind.value_type, "value", full)} if full else {}
        case inspect.StructType():
            return {one.encode_name: _value(one.type, one.name, full) for one in kind.fields if full or one.required}
    raise AssertionError(f"an example of {kind} is not known: teach this file")


def _text(name: str) -> str:
    words = name.removesuffix("_id").replace("_", "-") or "text"
    return f"{words}-1" if name.endswith("_id") else words
