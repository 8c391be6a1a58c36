"""An exported log, read back: record by record, and what of it says where other records stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Raw, Struct

from engage.events import codec
from engage.events.linking import SOURCE, Links
from engage.rules.decisions import TYPES as DECISIONS
from engage.rules.mending import WORDS
from engage.services.moving.files import lines
from engage.services.moving.manifest import Manifest

NAMING = DECISIONS | WORDS
"""The types of events that name other records."""
_IDENTITIES = codec.encode(SOURCE)
_MAY_NAME_PLACES = tuple(f'"{name}"'.encode() for name in sorted(NAMING))


class Moving(Struct, frozen=True, gc=False):
    """A record on its way: where it stood, and what its place in another log depends on."""

    offset: int
    event: Raw
    type: str
    subject: str
    source: str
    id: str
    recorded: datetime
    inboxoffset: int | None = None

    @property
    def value(self) -> bytes:
        """The event as it stood on the log."""
        return bytes(self.event)


class _Line(Struct, gc=False):
    offset: int
    event: Raw


class _Head(Struct, gc=False):
    type: str
    subject: str
    source: str
    id: str
    recorded: datetime
    inboxoffset: int | None = None


class _Named(Struct, gc=False):
    data: Raw
    subject: str
    type: str
    origin: str | None = None
    retold: bool = False


class _Decided(Struct, gc=False):
    decided_at: int


class _Word(Struct, gc=False):
    consumer: str
    offset: int


_line = msgspec.json.Decoder(_Line).decode
_head = msgspec.json.Decoder(_Head).decode
_named = msgspec.json.Decoder(_Named).decode
_decided = msgspec.json.Decoder(_Decided).decode
_word = msgspec.json.Decoder(_Word).decode


def records(folder: Path, manifest: Manifest, partition: int) -> Iterator[Moving]:
    """The records of a partition, in order."""
    for segment in manifest.segments(partition):
        for told in lines(folder / segment.path):
            line = _line(told)
            head = _head(line.event)
            yield Moving(
                line.offset,
                line.event,
                head.type,
                head.subject,
                head.source,
                head.id,
                head.recorded,
                head.inboxoffset,
            )


def named_places(folder: Path, manifest: Manifest, partition: int) -> Iterator[tuple[str, int]]:
    """Each record of a partition that another one names as the moment of something: whose subject names it, and where.

    That is where something was decided, and where a consumer failed that an operator has spoken of.
    """
    for segment in manifest.segments(partition):
        for told in lines(folder / segment.path):
            if not any(name in told for name in _MAY_NAME_PLACES):
                continue
            event = _named(_line(told).event)
            if event.retold or event.origin is not None:  # a copy names what stands in another partition
                continue
            offset = named_offset(event.type, event.data)
            # What a copy names is the moment of another partition, at which nobody looks for it.
            if offset is not None and event.origin is None and not event.retold:
                yield event.subject, offset


def chain(folder: Path, manifest: Manifest) -> tuple[str, str, str] | None:
    """Somebody who is linked to an account that is linked to another one itself, and those two; None if nobody is."""
    links = Links()
    for cut in manifest.cuts:
        for segment in manifest.segments(cut.partition):
            for told in lines(folder / segment.path):
                if _IDENTITIES in told:
                    links.fold(codec.decode(_line(told).event))
    for visitor, account in links.pairs():
        if (further := links.linked_to(account)) is not None:
            return visitor, account, further
    return None


def named_offset(kind: str, data: Raw) -> int | None:
    """The offset that an event of this type names as the moment of something; None if it names none."""
    if kind in DECISIONS:
        return _decided(data).decided_at
    if kind in WORDS:
        word = _word(data)
        return None if word.consumer == _INTAKE else word.offset  # among the dead letters, not on the log
    return None


_INTAKE = "intake"


def redirected(
    kind: str, data: Raw, partition: int, moment: int, cause: Callable[[int, int], tuple[int, int]]
) -> bytes:
    """The data of an event that names places, with those of another log.

    ``moment`` is the offset that ``named_offset`` has found, as it is there; ``cause`` gives the partition and offset
    of what led to it.
    """
    told = msgspec.json.decode(data)
    if kind in DECISIONS:
        told["decided_at"] = moment
        where, offset = cause(told["cause"]["partition"], told["cause"]["offset"])
        told["cause"] |= {"partition": where, "offset": offset}
    else:
        told |= {"partition": partition, "offset": moment}
    return msgspec.json.encode(told)
