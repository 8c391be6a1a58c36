"""The terms of an agreement: each one's measured value against its limit, and since when it is kept or broken."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct

from engage.events.catalogue.agreements import LimitDirection, Party, Term, TermKind

_TERMS_KEPT = 100


class TermKept(Struct, omit_defaults=True):
    """A term, its ``measured`` value against its ``limit`` in ``unit`` (None: not measured yet), as of ``measured_at``.

    ``state`` is ``unknown``, ``within`` or ``breached``, ``since`` when; ``by`` the side that broke it last.
    """

    name: str
    limit: float
    kind: TermKind | None = None
    measure: str | None = None
    direction: LimitDirection | None = None
    unit: str | None = None
    measured: float | None = None
    measured_at: datetime | None = None
    state: Literal["unknown", "within", "breached"] = "unknown"
    since: datetime | None = None
    by: Party | None = None


def agreed(known: Sequence[TermKept], terms: Sequence[Term]) -> list[TermKept]:
    """The terms that hold from here on; one whose limit stays keeps what was measured."""
    by_name = {term.name: term for term in known}
    found = []
    for term in terms[:_TERMS_KEPT]:
        kept = by_name.get(term.name)
        if kept is None or kept.limit != term.limit or kept.direction not in (None, term.direction):
            kept = TermKept(term.name, term.limit)
        kept.kind, kept.measure, kept.direction, kept.unit = term.kind, term.measure, term.direction, term.unit
        found.append(kept)
    return found


def named(
    terms: list[TermKept], name: str, limit: float, unit: str | None, direction: LimitDirection | None = None
) -> TermKept:
    """The term of that name; one that nobody told us of is as the event says."""
    for term in terms:
        if term.name == name:
            return term
    term = TermKept(name, limit, unit=unit, direction=direction)
    terms.append(term)
    del terms[:-_TERMS_KEPT]
    return term


def is_good(value: float, limit: float, direction: LimitDirection) -> bool:
    """Whether a value is on the good side of its limit."""
    return value >= limit if direction == "at_least" else value <= limit


def measure(term: TermKept, value: float, at: datetime, *, good: bool) -> None:
    """A measurement; the latest counts, whenever it comes."""
    if term.measured_at is not None and at < term.measured_at:
        return
    term.measured, term.measured_at = value, at
    state: Literal["within", "breached"] = "within" if good else "breached"
    if term.state != state:
        term.state, term.since = state, at
        term.by = None
