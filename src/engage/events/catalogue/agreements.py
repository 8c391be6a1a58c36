"""Agreements: what both sides expect of each other, where the boundaries are, and whether they are kept."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

from engage.events.catalogue.base import Count, EventData, Personal, Ref, Text
from engage.events.envelope import Instant

Party = Literal["us", "them"]
"""Which side did it: ours, or the account's."""
TermKind = Literal["expectation", "boundary"]
"""``expectation``: what is to be reached. ``boundary``: what is never to be crossed."""
LimitDirection = Literal["at_least", "at_most"]


class Term(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One term: ``measure`` is to be at least or at most ``limit``, counted in ``unit`` (``share`` is 0-1)."""

    name: Ref
    kind: TermKind
    measure: Ref
    limit: float
    direction: LimitDirection
    unit: Ref


class AgreementProposed(EventData):
    """One side proposed an agreement that would run from ``starts`` to ``ends``."""

    agreement_id: Ref
    title: Text
    starts: Instant | None = None
    ends: Instant | None = None
    notice_days: Count = 0
    terms: tuple[Term, ...] = ()
    by: Party | None = None
    note: Personal | None = None

    def __post_init__(self) -> None:
        """Raises ValueError when it would end before it starts."""
        _check_period(self.agreement_id, self.starts, self.ends)


class AgreementCountered(EventData):
    """The other side answered a proposal with other terms: ``terms`` are all that it would sign."""

    agreement_id: Ref
    terms: tuple[Term, ...] = ()
    starts: Instant | None = None
    ends: Instant | None = None
    by: Party | None = None
    note: Personal | None = None

    def __post_init__(self) -> None:
        """Raises ValueError when it would end before it starts."""
        _check_period(self.agreement_id, self.starts, self.ends)


class AgreementSigned(EventData):
    """Both sides signed: it runs from ``starts`` to ``ends``.

    Who does not want it renewed says so ``notice_days`` days before ``ends``.
    """

    agreement_id: Ref
    title: Text
    starts: Instant
    ends: Instant
    notice_days: Count = 0
    terms: tuple[Term, ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError when it ends before it starts."""
        _check_period(self.agreement_id, self.starts, self.ends)


class AgreementRenewed(EventData):
    """It runs on until ``ends``; ``notice_days`` and ``terms`` stay as they were when they are left out."""

    agreement_id: Ref
    ends: Instant
    notice_days: Count | None = None
    terms: tuple[Term, ...] | None = None


class AgreementBreached(EventData):
    """A term was not kept: ``measured`` against ``limit``, both in ``unit``; ``by`` is the side that broke it."""

    agreement_id: Ref
    term: Ref
    measured: float
    limit: float
    unit: Ref | None = None
    by: Party | None = None
    note: Personal | None = None


class AgreementEnded(EventData):
    """It binds nobody any more; ``reason`` is a short code such as ``expired``, ``terminated`` or ``replaced``."""

    agreement_id: Ref
    reason: Ref | None = None
    by: Party | None = None
    note: Personal | None = None


def _check_period(agreement_id: str, starts: datetime | None, ends: datetime | None) -> None:
    if starts is not None and ends is not None and ends < starts:
        raise ValueError(f"agreement {agreement_id!r} ends before it starts")
