"""What an event type is: a typed Struct whose name, fields, units and personal fields are declared in one place."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, dataclass_transform

import msgspec
from msgspec import Meta, Struct
from msgspec.inspect import Metadata

from engage.events.catalogue.codes import Currency as Currency

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Pure: the data of version N in, the data of version N + 1 out."""

_PERSONAL = "personal"
UNDECLARED = "undeclared"
"""The field of a log record's data that holds, sealed, whatever the catalogue does not declare."""

Text = Annotated[str, Meta(min_length=1, max_length=1_000)]
"""A short, non-empty text that names no person."""
Ref = Annotated[str, Meta(min_length=1, max_length=256)]
"""The id of something in an upstream system: an order, a ticket, an agreement."""
Amount = Annotated[float, Meta(ge=-1e12, le=1e12, description="in major units of its currency")]
Share = Annotated[float, Meta(ge=0, le=1, description="a share, 0-1")]
Seconds = Annotated[float, Meta(ge=0, description="seconds")]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Personal = Annotated[str, Meta(max_length=200_000, extra={_PERSONAL: True})]
"""A text that says something of a person: sealed with the account's key before it reaches the log."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class ValueMeta(msgspec.StructMeta):
    """Structs that are frozen, made by keyword and lean on the wire, without saying so each time."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **config: Any) -> Any:
        lean = {"frozen": True, "kw_only": True, "omit_defaults": True, "gc": False}
        return super().__new__(cls, name, bases, namespace, **(lean | config))


class EventData(Struct, metaclass=ValueMeta):
    """Base of every event type's data; the class name in words is its type (``OrderCompleted``: Order Completed).

    ``version`` is that of the data's shape; ``upcasters[n]`` turns data of version n into version n + 1.
    """

    type_name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    upcasters: ClassVar[Mapping[int, Upcaster]] = {}


class Nested(Struct, frozen=True):
    """A declared field that holds objects: the names their type declares, and which of them hold objects again."""

    fields: frozenset[str]
    nested: Mapping[str, Nested]


class EventType(Struct, frozen=True):
    """A catalogue entry: everything that codec, sealing and documentation need to know of one type.

    ``open`` are those of its ``fields`` that everybody may read.
    """

    name: str
    family: str
    version: int
    data: type[EventData]
    fields: frozenset[str]
    personal: frozenset[str]
    open: frozenset[str]
    nested: Mapping[str, Nested]
    decode: Callable[[bytes | msgspec.Raw], EventData]


def describe(data: type[EventData], family: str) -> EventType:
    """The catalogue entry of ``data``; ``family`` is the file that declares it."""
    info = msgspec.inspect.type_info(data)
    assert isinstance(info, msgspec.inspect.StructType)
    fields = frozenset(field.encode_name for field in info.fields)
    personal = frozenset(field.encode_name for field in info.fields if _is_personal(field.type))
    return EventType(
        name=data.type_name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", data.__name__),
        family=family,
        version=data.version,
        data=data,
        fields=fields,
        personal=personal,
        open=fields - personal,
        nested=_nested_in(info),
        decode=msgspec.json.Decoder(data).decode,
    )


def _is_personal(kind: msgspec.inspect.Type) -> bool:
    if isinstance(kind, Metadata):
        return bool((kind.extra or {}).get(_PERSONAL)) or _is_personal(kind.type)
    if isinstance(kind, msgspec.inspect.UnionType):
        return any(_is_personal(member) for member in kind.types)
    return False


def _nested_in(info: msgspec.inspect.StructType) -> dict[str, Nested]:
    found = {field.encode_name: _struct_in(field.type) for field in info.fields}
    return {
        name: Nested(frozenset(field.encode_name for field in struct.fields), _nested_in(struct))
        for name, struct in found.items()
        if struct
    }


def _struct_in(kind: msgspec.inspect.Type) -> msgspec.inspect.StructType | None:
    if isinstance(kind, msgspec.inspect.StructType):
        return kind
    if isinstance(kind, Metadata):
        return _struct_in(kind.type)
    if isinstance(kind, msgspec.inspect.UnionType):
        return next((struct for member in kind.types if (struct := _struct_in(member))), None)
    if isinstance(kind, msgspec.inspect.ListType | msgspec.inspect.VarTupleType):
        return _struct_in(kind.item_type)
    return None
