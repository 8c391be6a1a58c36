"""Intake's rule of time: what ``recorded`` an event gets on its partition, the same whoever runs intake."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from msgspec import Raw

from engage.events.catalogue import type_of
from engage.events.catalogue.clock import ClockTicked
from engage.events.codec import new_event
from engage.events.envelope import EPOCH, PARTITION_SUBJECT, Event
from engage.rules.engine import ACTIVATED

MAX_LEAP = timedelta(hours=1)
"""How far a record's append time may lie ahead of the clock of whoever runs intake."""
TICK = type_of(ClockTicked)

_ticked = msgspec.json.Decoder(ClockTicked).decode


class ClockLeapError(RuntimeError):
    """A record's append time lies far ahead: the partition stops. Set the clocks right, then start intake again."""


class Stamp:
    """The moving clock of one partition: every record's ``recorded`` is at or after the one before."""

    def __init__(self, partition: int, last: datetime = EPOCH) -> None:
        self.partition = partition
        self.last = last

    def put(self, event: Event[Raw], appended: datetime) -> bool:
        """Set ``event.recorded`` from its append time; False for a tick whose time is past: drop it.

        An activation moves no clock, so that what became due before it is still for the activated rule to say.
        """
        moment = appended if appended > self.last else self.last  # max takes ten times as long
        if event.type == TICK:
            until = _ticked(event.data).until
            if until <= self.last:
                return False
            moment = max(moment, until)
        elif event.type == ACTIVATED and self.last > EPOCH:
            moment = self.last
        event.recorded = self.last = moment
        return True

    def guard(self, appended: datetime, clock: datetime) -> None:
        """ClockLeapError if the append time lies more than ``MAX_LEAP`` ahead of our own clock."""
        if appended - clock > MAX_LEAP:
            raise ClockLeapError(
                f"partition {self.partition}: a record was appended at {appended.isoformat()}, our clock says "
                f"{clock.isoformat()}: set the clocks of the broker and of this machine right, then start intake again"
            )


def tick(partition: int, until: datetime) -> Event[Raw]:
    """The event that says: time has passed on ``partition`` up to ``until``."""
    return new_event(
        ClockTicked(partition=partition, until=until),
        id=f"tick:{partition}:{until.isoformat()}",
        source="engage/clock",
        subject=f"{PARTITION_SUBJECT}{partition}",
        time=until,
    )
