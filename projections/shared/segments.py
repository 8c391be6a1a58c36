"""Which declared segments is each account in, since when, and how large is each?

Segments are declared in ``segments.toml`` beside this file, or in the house's own (``engage.services.own_segments``);
how, ``segment_language`` says, and ``segment_facts`` what they may ask for. Membership is looked at with each event of
the account that counts, and on the moment at which time alone changes it. Who enters or leaves is announced as
``segment.entered`` and ``segment.left``. Other definitions are another version: the log is folded again.
"""

from __future__ import annotations

import hashlib
import pkgutil
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, field

from engage.events.catalogue.base import EventData
from engage.events.catalogue.segment import SegmentEntered, SegmentLeft
from engage.events.envelope import EPOCH, Event
from engage.views.aggregate import Aggregate
from engage.views.projection import Fold, Projection, account_of
from projections.shared.segment_facts import Membership
from projections.shared.segment_folds import CHANGES, Change
from projections.shared.segment_language import Holds, Segment, parsed

VERSION = 1
"""Of the code; the version of the read model also tells definitions apart."""
_SPAN = 10**9

Look = tuple[str, Holds]
"""A segment's name, and what tells whether an account is in it."""


class SegmentShard(Struct):
    """Sums of one segment over accounts.

    segment: the segment's name
    accounts: accounts in it
    kinds: by kind of account, how many of them
    """

    segment: str
    accounts: int = 0
    kinds: dict[str, int] = field(default_factory=dict)


class SegmentSize(Struct):
    """One declared segment.

    segment: the segment's name
    about: who is in it, as its declaration says
    accounts: accounts in it
    kinds: by kind of account, how many of them; "unknown" where nobody said what they are
    """

    segment: str
    about: str
    accounts: int
    kinds: dict[str, int]


def declared(definitions: Sequence[Segment]) -> tuple[Projection[Membership], Aggregate[SegmentShard, SegmentSize]]:
    """The read models of these segments: who is in which, and how large each is."""
    version = VERSION * _SPAN + _fingerprint(definitions)
    members = Projection("segments", version=version, row=Membership, key=account_of, indexes=("next_at",))
    sizes = Aggregate("segment_sizes", version=version, row=SegmentShard, reads=SegmentSize, of=members)
    looks = [(one.name, one.made()) for one in definitions]
    for kind, (change, facts) in CHANGES.items():
        concerned = [look for one, look in zip(definitions, looks, strict=True) if one.facts & facts]
        members.on(kind)(_folding(change, looks, concerned))
    members.on_wake(lambda row: row.next_at)(lambda row, moment: _woken(row, looks, moment))
    members.announces(lambda row: tuple(row.segments))(_moved)
    sizes.of_row(_shares)
    sizes.read(lambda shards: _sizes(shards, definitions))
    return members, sizes


def _folding(change: Change, looks: Sequence[Look], concerned: Sequence[Look]) -> Fold:
    def fold(row: Membership, event: Event[Any]) -> Membership:
        is_new = row.known_since == EPOCH
        row.known_since = event.time if is_new else min(row.known_since, event.time)
        change(row, event)
        return _placed(row, looks if is_new else concerned, event.now)

    return fold


def _woken(row: Membership, looks: Sequence[Look], moment: datetime) -> Membership:
    changes = row.changes
    return _placed(row, [look for look in looks if look[0] in changes and changes[look[0]] <= moment], moment)


def _placed(row: Membership, concerned: Sequence[Look], now: datetime) -> Membership:
    """The row after these segments were looked at; time has changed no other, or the row would have been woken."""
    entered, changes = row.entered, row.changes
    moved = False
    for name, look in concerned:
        holds, change = look(row, now)
        if holds != (name in entered):
            moved = True
            if holds:
                entered[name] = now
            else:
                del entered[name]
        if change is not None:
            changes[name] = change
        elif name in changes:
            del changes[name]
    if moved:
        row.segments = sorted(entered)
    row.next_at = min(changes.values()) if changes else None
    return row


def _moved(before: tuple[str, ...] | None, row: Membership, moment: datetime) -> Iterable[EventData]:
    was, now = before or (), row.segments
    yield from (SegmentLeft(segment=name) for name in was if name not in now)
    yield from (SegmentEntered(segment=name) for name in now if name not in was)


def _shares(row: Membership) -> list[SegmentShard]:
    return [SegmentShard(name, 1, {row.kind or "unknown": 1}) for name in row.segments]


def _sizes(shards: Sequence[SegmentShard], definitions: Sequence[Segment]) -> list[SegmentSize]:
    found = {shard.segment: shard for shard in shards}
    empty = SegmentShard("")
    return [
        SegmentSize(one.name, one.about, found.get(one.name, empty).accounts, found.get(one.name, empty).kinds)
        for one in definitions
    ]


def _fingerprint(definitions: Sequence[Segment]) -> int:
    """A number below ``_SPAN`` that changes with what the definitions say, but not with their words about it."""
    told = msgspec.json.encode([(one.name, one.every, one.some) for one in definitions])
    return int.from_bytes(hashlib.sha256(told).digest()[:8], "big") % _SPAN


_SHIPPED = pkgutil.get_data(__package__, "segments.toml")
assert _SHIPPED is not None, "the segments are shipped with this file"
SHIPPED: tuple[Segment, ...] = parsed(_SHIPPED.decode(), "projections/shared/segments.toml")
"""The segments that hold where the house declares none."""

segments, segment_sizes = declared(SHIPPED)
