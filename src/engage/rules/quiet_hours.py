"""Quiet hours: when it is night for an account, and when that night ends, by its own wall clock.

Time zones come from the package ``tzdata`` and never from the machine, so that every machine decides the same.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from msgspec import Struct

_TZDATA = files("tzdata")
_DAY = timedelta(days=1)
_opened: dict[str, ZoneInfo] = {}


class QuietHours(Struct, frozen=True):
    """From ``start`` until ``end``, wall-clock times; over midnight where ``end`` is earlier, never where they agree.

    ValueError if a time names an offset of its own.
    """

    start: time
    end: time

    def __post_init__(self) -> None:
        for each in (self.start, self.end):
            if each.tzinfo is not None:
                raise ValueError(f"quiet hours are by the account's own clock: write {each:%H:%M} without an offset")


def zone_of(name: str) -> ZoneInfo | None:
    """The IANA time zone of that name, None if there is none."""
    zone = _opened.get(name)  # it is asked for each decision
    return zone or (_zone(name) if name in zone_names() else None)


def quiet_until(hours: QuietHours, zone: ZoneInfo, now: datetime) -> datetime | None:
    """When the quiet hours that ``now`` falls into end (UTC, after ``now``); None if nobody is disturbed now.

    Where the clocks are put forward over the end, it comes with the same offset as the start; where they are put back
    over it, the end that is still to come counts.
    """
    local = now.astimezone(zone)
    clock, start, end = local.time(), hours.start, hours.end
    over_midnight = start > end
    evening = over_midnight and clock >= start
    if not evening and (clock >= end or (clock < start and not over_midnight)):
        return None
    day = local.date() + _DAY if evening else local.date()
    first = _moment(day, hours.end, zone, fold=0)
    return first if first > now else _moment(day, hours.end, zone, fold=1)


def _moment(day: date, clock: time, zone: ZoneInfo, *, fold: int) -> datetime:
    return datetime.combine(day, clock, tzinfo=zone).replace(fold=fold).astimezone(UTC)


@cache
def zone_names() -> frozenset[str]:
    """Every IANA name that the package knows."""
    return frozenset((_TZDATA / "zones").read_text().split())


def _zone(name: str) -> ZoneInfo:
    with _TZDATA.joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return _opened.setdefault(name, ZoneInfo.from_file(file, key=name))
