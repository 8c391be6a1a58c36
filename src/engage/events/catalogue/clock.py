"""The clock: how the passing of time reaches the log when nothing else happens."""

from __future__ import annotations

from typing import ClassVar

from engage.events.catalogue.base import Count, EventData
from engage.events.envelope import Instant


class ClockTicked(EventData):
    """Nothing arrived on ``partition`` and something is due: ``recorded`` is at least ``until`` from here on."""

    type_name: ClassVar[str] = "clock.ticked"

    partition: Count
    until: Instant
