"""Whether a mapping makes events that engage knows: asked before the first line, for a typo there would be in all."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engage.events.catalogue import CATALOGUE, RESERVED
from engage.near_names import nearly
from engage.services.mapping import EventMapping, MappingError


def check_mapping(mapping: EventMapping, *, unknown_type: bool = False) -> list[str]:
    """Warnings about ``mapping``: fields that its type does not declare; see ``check_fields`` for what is refused."""
    if mapping.type is None:
        return []
    return check_fields(mapping.type, mapping.fields, unknown_type=unknown_type, taken_with="--allow-unknown-type")


def check_fields(
    type_name: str, fields: Sequence[str], *, unknown_type: bool, taken_with: str = "unknown_type = true"
) -> list[str]:
    """Warnings about events of a type that get these fields of data: those that it does not declare.

    MappingError for a type that is unknown, unless ``unknown_type``, for one of engage's own, and for a field that the
    type needs and does not get.
    """
    kind = CATALOGUE.get(type_name)
    if kind is None:
        if unknown_type:
            return []
        raise MappingError(
            f"type: {type_name!r} is no type that engage knows{did_you_mean(type_name)}: it would be kept and "
            f"shown, but no rule and no read model knows what it means; {taken_with} takes it all the same"
        )
    if kind.name in RESERVED:
        raise MappingError(f"type: {kind.name!r} is for engage itself to say: choose another type")
    info = msgspec.inspect.type_info(kind.data)
    assert isinstance(info, msgspec.inspect.StructType)
    missing = [one.encode_name for one in info.fields if one.required and one.encode_name not in fields]
    if missing:
        raise MappingError(f"data: {kind.name!r} needs {', '.join(missing)}: say where it comes from")
    extra = [name for name in fields if name not in kind.fields]
    return [
        f"data.{name}: {kind.name!r} does not declare it{nearly(name, kind.fields)}: it is kept sealed, and no rule "
        "and no read model sees it"
        for name in extra
    ]


def did_you_mean(name: str) -> str:
    """`` (did you mean 'Order Completed'?)`` for a type that is nearly one we know, else nothing."""
    return nearly(name, (known for known in CATALOGUE if known not in RESERVED))
