"""The demo company's history: real purchases with moved dates and the simulation around them, in the order of time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from zlib import crc32

from msgspec import Raw

from engage.demo import customers, partners
from engage.demo.purchases import DAYS, FILE, LABEL, SOURCE, Purchase, data_folder, read_customers
from engage.demo.story import DAY_MICROS, Entry
from engage.events.catalogue.commerce import OrderCompleted, Product
from engage.events.codec import new_event
from engage.events.envelope import Event

SIMULATION = "engage/demo/simulation"
"""The source of everything that is not a real purchase."""
SEED = 1997

_when = attrgetter("time")


class History:
    """About 250,000 events; ``len`` counts them, iterating makes them one by one, in the order of time.

    ``first_day`` is the UTC midnight with which it begins; it has ``DAYS`` days.
    """

    def __init__(self, entries: list[Entry], first_day: datetime, now: datetime) -> None:
        self.first_day = first_day
        self._now = now
        self._entries = entries
        self._length = len(entries)

    @property
    def end(self) -> datetime:
        """The end of the last day: the next midnight, or ``now``."""
        return min(self.first_day + timedelta(days=DAYS), self._now)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Event[Raw]]:
        return self._events(self._entries)

    def before(self, day: int) -> int:
        """How many events lie before day number ``day``."""
        return bisect_left(self._entries, day * DAY_MICROS, key=_when)

    def told_once(self, skip: int = 0) -> Iterator[tuple[datetime, list[Event[Raw]]]]:
        """``days`` for who asks for nothing of it afterwards: what was told is let go of, 100 MB of it by the end."""
        entries, self._entries = self._entries, []
        entries.reverse()
        return self._by_day((entries.pop() for _ in range(len(entries))), skip)

    def days(self, skip: int = 0) -> Iterator[tuple[datetime, list[Event[Raw]]]]:
        """Each UTC day's end and events, days without events too; without the first ``skip`` days.

        The end is the next midnight, and ``now`` where that comes first.
        """
        return self._by_day(iter(self._entries), skip)

    def _by_day(self, told: Iterator[Entry], skip: int) -> Iterator[tuple[datetime, list[Event[Raw]]]]:
        by_day = groupby(told, key=lambda entry: entry.time // DAY_MICROS)
        day, entries = next(by_day, (DAYS, iter(())))
        for number in range(DAYS):
            of_day: list[Entry] = []
            if day == number:
                of_day = list(entries)
                day, entries = next(by_day, (DAYS, iter(())))
            if number >= skip:
                end = min(self.first_day + timedelta(days=number + 1), self._now)
                yield end, list(self._events(of_day))

    def _events(self, entries: list[Entry]) -> Iterator[Event[Raw]]:
        for _, together in groupby(entries, key=_when):
            events = [self._event(entry) for entry in together]
            yield from events if len(events) == 1 else sorted(events, key=lambda event: (event.source, event.id))

    def _event(self, entry: Entry) -> Event[Raw]:
        moment = self.first_day + timedelta(microseconds=entry.time)
        data = entry.data
        if isinstance(data, Purchase):
            identity = f"{LABEL}:{data.line}"
            order = OrderCompleted(
                order_id=identity,
                total=data.cents / 100,
                currency="USD",
                products=(Product(product_id="cd", category="music", quantity=data.cds),),
            )
            return new_event(order, id=identity, source=SOURCE, subject=entry.subject, time=moment)
        return new_event(
            data, id=f"{entry.subject}:{entry.ordinal}", source=SIMULATION, subject=entry.subject, time=moment
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
    entries: list[Entry] = []
    for customer, purchases in read_customers(cdnow_path or data_folder() / FILE):
        if crc32(customer.encode()) < scale * 2**32:
            entries += customers.live(customer, purchases, first_day, seed)
    entries += partners.work(first_day, scale, seed)
    _fit_last_day(entries, min(1.0, (now - midnight) / timedelta(days=1)))
    entries.sort(key=_when)
    return History(entries, first_day, now)


def _fit_last_day(entries: list[Entry], elapsed: float) -> None:
    """Squeeze the last day's times into the part of it that has ``elapsed`` (0-1), so that order and causes hold."""
    start = (DAYS - 1) * DAY_MICROS
    for entry in entries:
        if entry.time >= start:
            entry.time = start + int((entry.time - start) * elapsed)
