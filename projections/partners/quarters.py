"""What is counted of a partner by quarter and of late: so that each thing counts once, and quarters compare."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct

LATELY_KEPT, QUARTERS_KEPT = 20, 5


class Quarter(Struct, omit_defaults=True):
    """What was counted in a quarter (such as ``2026-Q1``, UTC), by when it happened: as the row's columns."""

    quarter: str
    deliveries: int = 0
    on_time_in_full: int = 0
    inspected: int = 0
    defective: int = 0
    disputes_opened: int = 0
    breaches: int = 0
    invoices: int = 0
    invoices_on_time: int = 0


class Lately(Struct, array_like=True):
    """A delivery or an invoice counted of late: in which quarter, and whether it was on time and in full."""

    about: str
    quarter: str
    on_time: bool
    in_full: bool = True


def quarter_of(moment: datetime) -> str:
    """The quarter of a moment, such as ``2026-Q1`` (UTC)."""
    at = moment.astimezone(UTC)
    return f"{at.year}-Q{(at.month + 2) // 3}"


def quarter_in(quarters: list[Quarter], name: str) -> Quarter | None:
    """That quarter's counts, in their place among ``quarters``; None if it is older than those that are kept."""
    for quarter in quarters:
        if quarter.quarter == name:
            return quarter
    if len(quarters) == QUARTERS_KEPT and name < quarters[0].quarter:
        return None
    found = Quarter(name)
    quarters[:] = sorted([*quarters, found], key=lambda one: one.quarter)[-QUARTERS_KEPT:]
    return found


def replaced(lately: list[Lately], came: Lately) -> Lately | None:
    """Put what came in the place of what was counted of the same before, and return that."""
    known = next((one for one in lately if one.about == came.about), None)
    if known is not None:
        lately.remove(known)
    lately.append(came)
    del lately[:-LATELY_KEPT]
    return known


def trend(quarters: Sequence[Quarter], part: str, whole: str, scale: float) -> float | None:
    """A share in the last quarter minus that of the one before, times ``scale``; None if one of them has none."""
    if len(quarters) < 2:
        return None
    before, now = (_share(one, part, whole) for one in quarters[-2:])
    return None if before is None or now is None else scale * (now - before)


def _share(quarter: Quarter, part: str, whole: str) -> float | None:
    count = getattr(quarter, whole)
    return getattr(quarter, part) / count if count else None
