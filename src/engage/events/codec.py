"""Events to bytes and back: the envelope in one decode, the typed data only for those who listen to it.

Speed lives here: ``benchmarks/codec.py`` holds it against ``orjson.loads`` of the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Literal, Union, cast

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import FieldInfo

from engage.events.catalogue import BY_CLASS, CATALOGUE
from engage.events.catalogue.base import UNDECLARED, EventData, EventType
from engage.events.envelope import Event, Id, Instant
from engage.events.upcasting import UpcastError, upcast

decode = msgspec.json.Decoder(Event[Raw]).decode
"""A log record's JSON to its envelope, data left raw; one of ``NO_EVENT`` if it is none."""

encode = msgspec.json.Encoder().encode
"""An event to the JSON of a log record."""

NO_EVENT = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What ``decode`` and its like raise: of what is no JSON, or of another shape; no UTF-8; or nested too deeply."""


class UnreadableError(ValueError):
    """Record number ``place`` of those that were to be read is no event."""

    def __init__(self, place: int, error: Exception) -> None:
        super().__init__(str(error))
        self.place = place


@cache
def reader(wanted: frozenset[str] | None = None) -> Callable[[bytes], Event[Any]]:
    """A decoder of log records that opens the data of the ``wanted`` types in the same pass; the others' stay raw.

    None wants every type of the catalogue. Data of an older version is upcast; data that cannot be read stays raw, and
    ``open_data`` says why. One pass over a union of Structs tagged by type takes two thirds of the time of decoding the
    envelope and then its data.
    """
    typed = _typed(wanted)

    def read(value: bytes) -> Event[Any]:
        try:
            return typed(value)
        except NO_EVENT:
            event = decode(value)
            if event.type in CATALOGUE and (wanted is None or event.type in wanted):
                with suppress(*NO_EVENT, UpcastError):
                    return open_data(event)
            return event

    return read


def read_all(values: Sequence[bytes], wanted: frozenset[str] | None = None) -> list[Event[Any]]:
    """``reader(wanted)`` of each of many records, without a call of ours for those that are as today's types have them.

    UnreadableError names the place of the first one that is no event.
    """
    typed, read = _typed(wanted), reader(wanted)
    events: list[Event[Any]] = []
    left = iter(values)
    while len(events) < len(values):
        try:
            events.extend(map(typed, left))
        except NO_EVENT:  # those before it are read; it is taken by itself, and those after it as they come
            try:
                events.append(read(values[len(events)]))
            except NO_EVENT as error:
                raise UnreadableError(len(events), error) from error
    return events


@cache
def _typed(wanted: frozenset[str] | None) -> Callable[[bytes], Event[Any]]:
    envelope = msgspec.structs.fields(Event)  # once: for each type it was three quarters of the 40 ms that this took
    kinds = [_record_of(kind, envelope, wanted is None or kind.name in wanted) for kind in CATALOGUE.values()]
    return cast(
        "Callable[[bytes], Event[Any]]",
        msgspec.json.Decoder(Union[tuple(kinds)]).decode,  # noqa: UP007 - a union of a computed tuple
    )


def _record_of(kind: EventType, envelope: Sequence[FieldInfo], typed: bool) -> type[Struct]:
    """``Event`` with its type fixed as the tag, and the data of today's version."""
    fields: list[Any] = []
    for field in envelope:
        if field.name == "data":
            fields.append(("data", kind.data if typed else Raw))
        elif field.name == "dataversion" and typed:
            today = Literal.__getitem__(kind.version)
            fields.append(("dataversion", today, 1) if kind.version == 1 else ("dataversion", today))
        elif field.name != "type":
            fields.append((field.name, field.type) if field.required else (field.name, field.type, field.default))
    return msgspec.defstruct(
        f"{kind.data.__name__}Record",
        fields,
        tag_field="type",
        tag=kind.name,
        kw_only=True,
        omit_defaults=True,
        gc=False,
        namespace={"type": kind.name, "identity": Event.identity, "is_copy": Event.is_copy, "now": Event.now},
    )


def open_data(event: Event[Raw]) -> Event[Any]:
    """The same event with its data decoded as its catalogue type, old versions upcast.

    It stays raw where the record is older than its type: the catalogue declared nothing of it then, and it is to be
    folded as any unknown event is. KeyError for an unknown type, ValidationError or UpcastError for data that does not
    fit.
    """
    kind = CATALOGUE[event.type]
    opened = cast("Event[Any]", event)
    try:
        raw = event.data if event.dataversion == kind.version else upcast(kind, event.dataversion, event.data)
        opened.data = kind.decode(raw)
    except (msgspec.ValidationError, UpcastError):
        if not _nothing_declared(event.data):
            raise
    return opened


def _nothing_declared(data: Raw) -> bool:
    """Whether all there is lies sealed under ``undeclared``: so intake leaves the data of a type it does not know."""
    shape = msgspec.json.decode(data)
    return isinstance(shape, dict) and shape.keys() <= {UNDECLARED}


def new_event(
    data: EventData,
    *,
    id: str,  # noqa: A002 - CloudEvents calls it so
    source: str,
    subject: str,
    time: Instant,
    causationid: Id | None = None,
    correlationid: Id | None = None,
    actor: Id | None = None,
    contact: Id | None = None,
) -> Event[Raw]:
    """An event of a catalogued type, ready to be published."""
    kind = BY_CLASS[type(data)]
    return Event(
        specversion="1.0",
        id=id,
        source=source,
        type=kind.name,
        subject=subject,
        time=time,
        data=Raw(encode(data)),
        dataversion=kind.version,
        causationid=causationid,
        correlationid=correlationid,
        actor=actor,
        contact=contact,
    )
