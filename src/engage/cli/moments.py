"""Moments and spans of time as people write them on the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from engage.cli.output import USAGE, CommandFailedError

_SPAN = re.compile(r"(\d{1,4})([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def ahead(text: str, flag: str) -> datetime:
    """The moment that ``text`` names, ``3d`` being three days from now."""
    return _moment(text, flag, 1, "from now on")


def back(text: str, flag: str) -> datetime:
    """The moment that ``text`` names, ``3d`` being three days ago."""
    return _moment(text, flag, -1, "back from now")


def between(
    since: str | None, until: str | None, flags: tuple[str, str] = ("--since", "--until")
) -> tuple[datetime | None, datetime | None]:
    """The moments that both name, None for what is left out; the first has to be the earlier one."""
    first, last = (None if text is None else back(text, flag) for text, flag in zip((since, until), flags, strict=True))
    if first is not None and last is not None and first >= last:
        raise CommandFailedError(f"{flags[0]} {since} is not before {flags[1]} {until}: turn them round", USAGE)
    return first, last


def span_of(text: str, flag: str) -> timedelta:
    """The span that ``text`` says."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise CommandFailedError(f"{flag} {text!r} is no span: write hours, days or weeks, 12h, 90d, 2w", USAGE)
    return int(found[1]) * _UNITS[found[2]]


def _moment(text: str, flag: str, direction: int, said: str) -> datetime:
    """Without a time zone, in that of this machine."""
    if span := _SPAN.fullmatch(text):
        return datetime.now(UTC) + direction * int(span[1]) * _UNITS[span[2]]
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise CommandFailedError(
            f"{flag} {text!r} is no moment: write 2026-03-01, 2026-03-01T09:00, or {said} 4h, 3d, 2w", USAGE
        ) from None
