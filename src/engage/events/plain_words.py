"""What msgspec finds wrong with a value, in words for people: the one place where its wording is translated."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import inspect

_PLACE = re.compile(r" - at (?P<key>`key` in )?`\$?(?P<path>[^`]*)`$")
_PART = re.compile(r"[^.\[\]]+")
_WANTS_TEXT = re.compile(r"Expected `[^`]*(str|object|array)")
_SHOWN = 40
_EXAMPLE_MOMENT = "2026-03-01T12:00:00Z"

_WANTED = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "nothing (null)",
    "datetime": f"a moment with time zone such as {_EXAMPLE_MOMENT}",
    "date": "a day such as 2026-03-01",
    "timedelta": "a span of time such as P3D",
    "duration": "a span of time such as P3D",
    "uuid": "a UUID",
}
_GIVEN = _WANTED | {"int": "a number", "float": "a number"}
_LIMITS = {"<=": "at most", ">=": "at least", "<": "less than", ">": "more than"}
_NOTHING = object()


def plain(error: msgspec.ValidationError, value: Any = _NOTHING, kind: Any = None) -> tuple[tuple[str, ...], str]:
    """Where (names and places from the outside in) and what ``error`` says is wrong, in words.

    ``value`` is what was judged: a number, a moment or a code in it is quoted, a text never, for it may name a person;
    ``kind`` is the type it was judged by, whose allowed
    values are listed for a text that is none of them.
    """
    message = str(error)
    place = _PLACE.search(message)
    path: tuple[str, ...] = ()
    if place:
        message = message[: place.start()]
        path = tuple(_PART.findall(place["path"]))
    if missing := re.fullmatch(r"Object missing required field `(.+)`", message):
        return (*path, missing[1]), "is missing"
    if unknown := re.fullmatch(r"Object contains unknown field `(.+)`", message):
        names = _names(_kind_at(kind, path))
        return (*path, unknown[1]), "is not known: " + (f"there are {', '.join(names)}" if names else "leave it out")
    found = _value_at(value, path)
    quoted = found is not _NOTHING and not isinstance(found, dict | list) and not _WANTS_TEXT.search(message)
    shown = f": {_short(found)}" if quoted else ""
    return path, _words(message, _kind_at(kind, path)) + shown


def plain_text(error: msgspec.ValidationError, value: Any = _NOTHING, kind: Any = None) -> str:
    """The same in one piece: ``time.zone: is a number, a text is needed: 7``."""
    path, words = plain(error, value, kind)
    return f"{'.'.join(path)}: {words}" if path else words


def _words(message: str, kind: inspect.Type | None) -> str:
    if other := re.fullmatch(r"Expected `([^`]+)`, got `([^`]+)`", message):
        wanted = [name for name in other[1].split(" | ") if name != "null"] or ["null"]
        return f"is {_GIVEN.get(other[2], other[2])}, {' or '.join(_WANTED.get(one, one) for one in wanted)} is needed"
    if "RFC3339" in message or "timezone component" in message:
        return f"is not {_WANTED['datetime']}"
    if "ISO8601" in message:
        return f"is not {_WANTED['duration']}"
    if "Invalid enum value" in message:
        allowed = _allowed(kind)
        return f"is not one of {', '.join(map(str, allowed))}" if allowed else "is not one of the values allowed here"
    if "UUID" in message:
        return "is not a UUID"
    if length := re.fullmatch(r"Expected `(str|array|object|bytes)` of length (<=|>=|<|>)? ?(\d+).*", message):
        what = "characters" if length[1] == "str" else "entries"
        if length[1] == "str" and length[2] == ">=" and length[3] == "1":
            return "is empty"
        return f"needs {_LIMITS.get(length[2], 'exactly')} {int(length[3]):,} {what}"
    if limit := re.fullmatch(r"Expected `(?:int|float|decimal)` (<=|>=|<|>) (\S+)", message):
        return f"needs to be {_LIMITS[limit[1]]} {float(limit[2]):,.12g}"
    if pattern := re.fullmatch(r"Expected `str` matching regex '?\"?(.+?)'?\"?", message):
        return f"does not have the form {pattern[1]}"
    return message[:1].lower() + message[1:].replace("`", "")


def _kind_at(kind: Any, path: tuple[str, ...]) -> inspect.Type | None:
    """The type at ``path`` below ``kind``, None where it cannot be told."""
    if kind is None:
        return None
    at: inspect.Type | None = _bare(inspect.type_info(kind))
    for part in path:
        if isinstance(at, inspect.StructType):
            at = next((field.type for field in at.fields if field.encode_name == part), None)
        elif isinstance(at, inspect.DictType):
            at = at.value_type
        elif isinstance(at, inspect.ListType | inspect.VarTupleType | inspect.SetType | inspect.FrozenSetType):
            at = at.item_type
        else:
            at = None
        at = _bare(at) if at is not None else None
    return at


def _bare(kind: inspect.Type) -> inspect.Type:
    """Without what is written about it, and without null."""
    while isinstance(kind, inspect.Metadata | inspect.UnionType):
        if isinstance(kind, inspect.Metadata):
            kind = kind.type
        else:
            members = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
            if len(members) != 1:
                return kind
            kind = members[0]
    return kind


def _allowed(kind: inspect.Type | None) -> tuple[Any, ...]:
    if isinstance(kind, inspect.LiteralType):
        return tuple(kind.values)
    return tuple(one.value for one in kind.cls) if isinstance(kind, inspect.EnumType) else ()


def _names(kind: inspect.Type | None) -> list[str]:
    return [field.encode_name for field in kind.fields] if isinstance(kind, inspect.StructType) else []


def _value_at(value: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        if isinstance(value, dict):
            value = value.get(part, _NOTHING)
        elif isinstance(value, list | tuple) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return _NOTHING
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
