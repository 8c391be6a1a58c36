"""What every customer of a shop bought, read from a file in CDNOW's form, for the benchmarks that hold engage to it."""

from __future__ import annotations

import gzip
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from msgspec import Struct

from engage.events.catalogue import type_of
from engage.events.catalogue.commerce import OrderCompleted
from engage.events.envelope import Event

SOURCE = "cdnow"


class Purchase(Struct, frozen=True):
    """One line of the file: who bought, when, for how many dollars; ``line`` counts from 1."""

    line: int
    customer: str
    day: date
    amount: float


class Period(Struct, frozen=True):
    """What is known up to and with ``calibration``, and who buys after it up to and with ``outcome``."""

    calibration: date
    outcome: date


EARLIER = Period(date(1997, 6, 30), date(1997, 9, 30))
"""Everything that is chosen is chosen here: it ends before the first day that ``HELD_OUT`` asks for."""
HELD_OUT = (Period(date(1997, 9, 30), date(1998, 6, 30)), Period(date(1997, 12, 31), date(1998, 6, 30)))


def read(path: Path) -> Iterator[Purchase]:
    """The file's purchases: customer, YYYYMMDD, pieces, dollars between blanks, gzipped if so named, header skipped.

    ValueError when it cannot be read as such, naming the line.
    """
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
            for number, line in enumerate(lines, start=1):
                fields = line.split()
                if not fields or (number == 1 and not fields[0].isdigit()):
                    continue
                try:
                    customer, day, _, amount = fields
                    yield Purchase(number, customer, datetime.strptime(day, "%Y%m%d").date(), float(amount))
                except ValueError as error:
                    wanted = "customer, day, pieces and dollars between blanks"
                    raise ValueError(f"{path}, line {number} is not {wanted}: {error}") from None
    except (EOFError, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def in_order(purchases: Iterable[Purchase]) -> list[Purchase]:
    """By day, within a day as they stand in the file."""
    return sorted(purchases, key=lambda purchase: (purchase.day, purchase.line))


def by_customer(purchases: Iterable[Purchase]) -> dict[str, list[Purchase]]:
    """Each customer's purchases, in the order in which they come; the customers by name."""
    histories: dict[str, list[Purchase]] = {}
    for purchase in purchases:
        histories.setdefault(purchase.customer, []).append(purchase)
    return dict(sorted(histories.items()))


def split(period: Period, histories: Mapping[str, list[Purchase]]) -> tuple[dict[str, list[Purchase]], list[bool]]:
    """Each known customer's purchases up to the calibration's end, and whether they bought again in the period."""
    known: dict[str, list[Purchase]] = {}
    came_back: list[bool] = []
    for customer, history in histories.items():
        first_after = bisect_right(history, period.calibration, key=lambda purchase: purchase.day)
        if first_after:
            known[customer] = history[:first_after]
            came_back.append(first_after < len(history) and history[first_after].day <= period.outcome)
    return known, came_back


def days_of(history: Iterable[Purchase]) -> list[date]:
    """The days on which something was bought, in order, each once."""
    return sorted({purchase.day for purchase in history})


def order_of(purchase: Purchase) -> Event[OrderCompleted]:
    """The purchase as the event it would have been; its hour is not known, so it is midnight, UTC."""
    time, order = start_of(purchase.day), f"line-{purchase.line}"
    return Event(
        specversion="1.0",
        id=order,
        source=SOURCE,
        type=type_of(OrderCompleted),
        subject=purchase.customer,
        time=time,
        recorded=time,
        data=OrderCompleted(order_id=order, total=purchase.amount),
    )


def start_of(day: date) -> datetime:
    """Its first moment, UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def end_of(day: date) -> datetime:
    """The first moment after it, UTC."""
    return start_of(day) + timedelta(days=1)
