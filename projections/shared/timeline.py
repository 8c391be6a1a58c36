"""What happened with this account, in the order in which we learned of it?"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from engage.events.catalogue import CATALOGUE
from engage.events.envelope import EPOCH, Event, is_account
from engage.views.projection import Projection, place_of
from projections.shared.summaries import SUMMARIES


class TimelineEntry(Struct):
    """One event of an account, in the order in which the log learned of them.

    entry: where the event stands in the log, "partition:offset"
    account: the account's id
    partition: the log's partition
    offset: the place within the partition
    time: when it happened, in the words of whoever reported it
    recorded: when the log learned of it
    type: the event's type
    family: the type's family in the catalogue; null for a type that it does not know
    source: the system that reported it
    event_id: the event's id in that system
    actor: the id of whoever did it; null when nobody said
    contact: the id of the account's contact that it concerns; null when it is none
    causation_id: the id of the event that led to it; null when none did
    summary: what happened, in a few words that name no person
    """

    entry: str
    account: str = ""
    partition: int = -1
    offset: int = -1
    time: datetime = EPOCH
    recorded: datetime = EPOCH
    type: str = ""
    family: str | None = None
    source: str = ""
    event_id: str = ""
    actor: str | None = None
    contact: str | None = None
    causation_id: str | None = None
    summary: str = ""


def _place(event: Event[Any]) -> str | None:
    return place_of(event) if is_account(event.subject) else None


timeline = Projection(
    "timeline",
    version=1,
    row=TimelineEntry,
    key=_place,
    append_only=True,
    indexes=(("account", "partition", "offset"),),
)


def _told(row: TimelineEntry, event: Event[Any], summary: str) -> TimelineEntry:
    kind = CATALOGUE.get(event.type)
    return TimelineEntry(
        row.entry,
        event.subject,
        event.partition,
        event.offset,
        event.time,
        event.now,
        event.type,
        None if kind is None else kind.family,
        event.source,
        event.id,
        event.actor,
        event.contact,
        event.causationid,
        summary,
    )


@timeline.on(*SUMMARIES)
def summarised(row: TimelineEntry, event: Event[Any]) -> TimelineEntry:
    """A type that we have words for."""
    return _told(row, event, SUMMARIES[type(event.data)](event.data))


@timeline.on_any
def named(row: TimelineEntry, event: Event[Any]) -> TimelineEntry:
    """Any other type, known or not: its name says enough, its data is not read."""
    return _told(row, event, event.type)
