"""Mappings: how the columns of somebody's text file become the fields of an event, written as TOML beside the file.

``examples/cdnow/mapping.toml`` shows the keys.
"""

from __future__ import annotations

import math
import string
import tomllib
from collections.abc import Callable, Mapping
from datetime import datetime, time, tzinfo
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Struct, field

from engage.events.plain_words import plain_text

WHITESPACE = "whitespace"

Kind = Literal["str", "int", "float", "bool", "time"]
Cells = Mapping[str, str]
Make = Callable[[Cells], Any]
"""From a row's cells by column (with ``file`` and ``line``) to a value; CellError if a cell does not hold one."""


class MappingError(ValueError):
    """A mapping that cannot work: the message names the file and the key."""


class CellError(ValueError):
    """A cell that does not hold what the mapping says: ``args`` are its column and the message."""


class Cell(Struct, frozen=True, forbid_unknown_fields=True):
    """One column's value: ``optional`` leaves the field out when the cell is empty, ``format`` is for kind ``time``."""

    column: str
    kind: Kind = "str"
    optional: bool = False
    format: str | None = None


class When(Struct, frozen=True, forbid_unknown_fields=True):
    """When it happened: a column, its strptime ``format``, the time of day ``at`` if it has none, the time ``zone``."""

    column: str
    format: str
    at: str = "00:00"
    zone: str = "UTC"


class TextFormat(Struct, frozen=True, forbid_unknown_fields=True):
    """How the file is written: ``delimiter`` a character or ``whitespace``; ``columns`` where no header names them."""

    delimiter: str = ","
    header: bool = True
    columns: tuple[str, ...] = ()


class _Shape(Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    source: str
    subject: str
    time: When
    data: dict[str, Any]
    id: str | None = None
    text: TextFormat = field(default_factory=TextFormat)


class EventMapping(Struct, frozen=True):
    """A mapping ready for use: ``columns`` are those it reads, ``event`` makes a row's cells into an event's JSON.

    ``type`` is the events' type, None where a column says it; ``fields`` are those of data that it fills.
    """

    type: str | None
    fields: tuple[str, ...]
    text: TextFormat
    columns: tuple[str, ...]
    event: Callable[[Cells], bytes]


def load_mapping(path: Path) -> EventMapping:
    """The mapping in the TOML file ``path``; MappingError if it is none."""
    try:
        return parse_mapping(path.read_text(encoding="utf-8"))
    except (MappingError, UnicodeDecodeError) as error:
        raise MappingError(f"{path}: {error}") from error


def parse_mapping(text: str) -> EventMapping:
    """The mapping that ``text`` (TOML) describes; MappingError names the key that is wrong."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"not TOML: {error}") from error
    try:
        shape = msgspec.convert(table, _Shape)
    except msgspec.ValidationError as error:
        raise MappingError(plain_text(error, table, _Shape)) from error
    if shape.text.delimiter != WHITESPACE and len(shape.text.delimiter) != 1:
        raise MappingError(f"text.delimiter: is {shape.text.delimiter!r}: give one character or {WHITESPACE!r}")
    if not shape.text.header and not shape.text.columns:
        raise MappingError("text.columns: a file without a header needs the names of its columns here")
    used: dict[str, None] = {shape.time.column: None}
    zone = _zone(shape.time.zone)
    attributes: dict[str, Make] = {
        name: _template(text, name, used)
        for name in ("id", "source", "type", "subject")
        if (text := getattr(shape, name)) is not None
    }
    attributes.setdefault("id", _id_of_line)
    attributes["time"] = _time(shape.time, zone)
    make_data = _value(shape.data, "data", used, zone)

    def event(cells: Cells) -> bytes:
        envelope: dict[str, Any] = {"specversion": "1.0"}
        for name, make in attributes.items():
            envelope[name] = make(cells)
        envelope["data"] = make_data(cells)
        return msgspec.json.encode(envelope)

    columns = tuple(column for column in used if column not in ("file", "line"))
    unknown = [column for column in columns if shape.text.columns and column not in shape.text.columns]
    if unknown:
        raise MappingError(f"text.columns: does not name {unknown[0]!r}, which the mapping uses")
    constant = not any(name for _, name, _, _ in string.Formatter().parse(shape.type))
    kind = shape.type.replace("{{", "{").replace("}}", "}") if constant else None
    return EventMapping(kind, tuple(shape.data), shape.text, columns, event)


def _value(spec: Any, key: str, used: dict[str, None], zone: tzinfo) -> Make:
    """What the TOML value ``spec`` says: a cell, a template, an object or list of such, or itself as a constant."""
    if isinstance(spec, list):
        items = [_value(item, f"{key}[{at}]", used, zone) for at, item in enumerate(spec)]
        return lambda cells: [make(cells) for make in items]
    if not isinstance(spec, dict):
        return lambda cells: spec
    if isinstance(spec.get("template"), str):
        if len(spec) > 1:
            raise MappingError(f"{key}: a template stands alone: remove its other keys")
        return _template(spec["template"], f"{key}.template", used)
    if isinstance(spec.get("column"), str):
        try:
            cell = msgspec.convert(spec, Cell)
        except msgspec.ValidationError as error:
            raise MappingError(f"{key}.{plain_text(error, spec, Cell)}") from error
        used[cell.column] = None
        return _cell(cell, key, zone)
    fields = {name: _value(item, f"{key}.{name}", used, zone) for name, item in spec.items()}
    return lambda cells: {name: value for name, make in fields.items() if (value := make(cells)) is not None}


def _id_of_line(cells: Cells) -> str:
    """File, line and what stands there: two files of one name are told apart, a line that is read again is the same."""
    content = blake2b(msgspec.json.encode(list(cells.values())), digest_size=8).hexdigest()
    return f"{cells['file']}:{cells['line']}:{content}"


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise MappingError(f"time.zone: this machine knows no time zone {name!r}: give an IANA name") from error


def _template(text: str, key: str, used: dict[str, None]) -> Make:
    """``text`` with its columns filled in; a CellError if one of them is empty, for an id must not fall together."""
    parts: list[tuple[str, str | None]] = []
    try:
        for before, name, spec, conversion in string.Formatter().parse(text):
            if name is not None and (not name or spec or conversion):
                raise ValueError("write a column as {name}, a brace as {{")
            parts.append((before, name))
            if name is not None:
                used[name] = None
    except ValueError as error:
        raise MappingError(f"{key}: {text!r} is no template: {error}") from error

    def make(cells: Cells) -> str:
        return "".join(before + (_filled(cells, name) if name is not None else "") for before, name in parts)

    return make


def _filled(cells: Cells, column: str) -> str:
    text = cells[column].strip()
    if not text:
        raise CellError(column, "is empty")
    return text


def _cell(cell: Cell, key: str, zone: tzinfo) -> Make:
    if cell.kind == "time":
        if cell.format is None:
            raise MappingError(f"{key}.format: a time needs its strptime format")
        convert = _time(When(cell.column, cell.format), zone)
    else:
        convert = _CONVERT[cell.kind](cell.column)
    if not cell.optional:
        return convert
    return lambda cells: convert(cells) if cells[cell.column].strip() else None


def _text(column: str) -> Make:
    return lambda cells: _filled(cells, column)


def _number(column: str, kind: type[int] | type[float], words: str) -> Make:
    def make(cells: Cells) -> float:
        text = _filled(cells, column)
        try:
            number = kind(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or "_" in text:
            raise CellError(column, f"{text[:80]!r} is not {words}")
        return number

    return make


def _truth(column: str) -> Make:
    def make(cells: Cells) -> bool:
        text = _filled(cells, column).lower()
        if text not in _TRUTHS:
            raise CellError(column, f"{text[:80]!r} is not one of {', '.join(_TRUTHS)}")
        return _TRUTHS[text]

    return make


_TRUTHS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
_CONVERT: dict[str, Callable[[str], Make]] = {
    "str": _text,
    "int": lambda column: _number(column, int, "a whole number"),
    "float": lambda column: _number(column, float, "a number"),
    "bool": _truth,
}


def _time(when: When, zone: tzinfo) -> Make:
    try:
        at = time.fromisoformat(when.at)
    except ValueError as error:
        raise MappingError(f"time.at: {when.at!r} is no time of day: write it as 12:00") from error
    dated_only = not any(directive in when.format for directive in _HOURS)

    def make(cells: Cells) -> datetime:
        text = _filled(cells, when.column)
        try:
            moment = datetime.strptime(text, when.format)
        except ValueError as error:
            raise CellError(when.column, f"{text[:80]!r} is not a date of the form {when.format!r}") from error
        if dated_only:
            moment = datetime.combine(moment, at, moment.tzinfo)
        return moment if moment.tzinfo else moment.replace(tzinfo=zone)

    return make


_HOURS = ("%H", "%I", "%c", "%X", "%s")
