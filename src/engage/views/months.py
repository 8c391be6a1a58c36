"""Calendar months in UTC, written "2026-03", so that they sort as time does."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


def month_of(moment: datetime) -> str:
    """The month that ``moment`` lies in."""
    there = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return f"{there.year:04}-{there.month:02}"


@lru_cache(maxsize=10_000)
def months_between(first: str, later: str) -> int:
    """How many months ``later`` is after ``first``."""
    return _number(later) - _number(first)


@lru_cache(maxsize=1_000)
def month_later(month: str, months: int) -> str:
    """The month so many months later; no earlier than the calendar's first and no later than its last."""
    number = min(max(_number(month) + months, 12), 9999 * 12 + 11)
    return f"{number // 12:04}-{number % 12 + 1:02}"


@lru_cache(maxsize=1_000)
def begin_of(month: str) -> datetime:
    """The moment at which it begins."""
    return datetime(int(month[:4]), int(month[5:]), 1, tzinfo=UTC)


def _number(month: str) -> int:
    return int(month[:4]) * 12 + int(month[5:]) - 1
