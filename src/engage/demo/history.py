"""The demo company's history: real purchases with moved dates and the simulation around them, in the order of time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zlib import crc32

from msgspec import Raw

from engage.demo import customers, partners
from engage.demo.packed import SIMULATION as SIMULATION
from engage.demo.packed import PackedDays, Told
from engage.demo.purchases import DAYS, FILE, data_folder, read_customers
from engage.events.envelope import Event

SEED = 1997


class History:
    """About 250,000 events; ``len`` counts them, iterating makes them one by one, in the order of time.

    ``first_day`` is the UTC midnight with which it begins; it has ``DAYS`` days.
    """

    def __init__(self, packed: PackedDays, first_day: datetime, now: datetime) -> None:
        self.first_day = first_day
        self._now = now
        self._packed = packed

    @property
    def end(self) -> datetime:
        """The end of the last day: the next midnight, or ``now``."""
        return min(self.first_day + timedelta(days=DAYS), self._now)

    def __len__(self) -> int:
        return sum(self._packed.counts)

    def __iter__(self) -> Iterator[Event[Raw]]:
        return (event for _, events in self.days() for event in events)

    def before(self, day: int) -> int:
        """How many events lie before day number ``day``."""
        return sum(self._packed.counts[:day])

    def days(self, skip: int = 0) -> Iterator[tuple[datetime, list[Event[Raw]]]]:
        """Each UTC day's end and events, days without events too; without the first ``skip`` days.

        The end is the next midnight, and ``now`` where that comes first.
        """
        for day in range(skip, DAYS):
            end = min(self.first_day + timedelta(days=day + 1), self._now)
            yield end, [self._event(told) for told in self._packed.of(day)]

    def _event(self, told: Told) -> Event[Raw]:
        return Event(
            specversion="1.0",
            id=told.id,
            source=told.source,
            type=told.type,
            subject=told.subject,
            time=self.first_day + timedelta(microseconds=told.time),
            data=told.data,
            dataversion=told.dataversion,
        )


def history(
    *, today: date, now: datetime, scale: float = 1.0, seed: int = SEED, cdnow_path: Path | None = None
) -> History:
    """The demo's history: the file's last day (1998-06-30) is ``today``, in UTC, and nothing lies after ``now``.

    ``scale`` (0-1) keeps that share of the customers, chosen by a hash of their number, and a few partners; what is
    kept is as in the whole. The same arguments give the same bytes. ValueError when ``today`` is after ``now``.
    """
    midnight = datetime.combine(today, time(), UTC)
    if now < midnight:
        raise ValueError(
            f"the demo's last day {today.isoformat()} begins after now, {now.isoformat()}: take an earlier day"
        )
    first_day = midnight - timedelta(days=DAYS - 1)
    packed = PackedDays(min(1.0, (now - midnight) / timedelta(days=1)))
    for customer, purchases in read_customers(cdnow_path or data_folder() / FILE):
        if crc32(customer.encode()) < scale * 2**32:
            packed.add(customers.live(customer, purchases, first_day, seed))
    packed.add(partners.work(first_day, scale, seed))
    return History(packed, first_day, now)
