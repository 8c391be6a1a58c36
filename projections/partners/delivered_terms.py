"""What do a partner's deliveries, and our inspections of them, say of the terms that were agreed?

A term is measured here if its measure is ``delivered_on_time`` or ``defective`` and its unit ``share``, by the same
deliveries as ``streams/partners/agreement_term_breached.py`` takes unless it is set otherwise. What a term comes to is
told to the log, from where ``agreements`` has it.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct, field, structs

from engage.events.catalogue.agreements import (
    AgreementEnded,
    AgreementRenewed,
    AgreementSigned,
    LimitDirection,
    Term,
)
from engage.events.catalogue.base import EventData
from engage.events.catalogue.deliveries import DeliveryReceived, QualityInspected
from engage.events.catalogue.term import AgreementTermMeasured
from engage.events.envelope import EPOCH, Event
from engage.views.projection import Projection, account_of

ON_TIME, DEFECTIVE, UNIT = "delivered_on_time", "defective", "share"
WINDOW, FEWEST = 20, 10
"""The last ``WINDOW`` deliveries count, from ``FEWEST`` on."""
_TERMS_KEPT = 100


class Counted(Struct, frozen=True, array_like=True, order=True):
    """One delivery: ``bad`` of ``of`` pieces were defective, or it came late (1 of 1)."""

    at: datetime
    delivery_id: str
    bad: int
    of: int


class Agreed(Struct, frozen=True):
    """A term that deliveries measure, of an agreement whose terms were agreed last at ``at``."""

    agreement_id: str
    name: str
    measure: str
    limit: float
    direction: LimitDirection
    at: datetime


class DeliveredTerms(Struct):
    """One partner's share of late and of defective goods, and the terms that are held against it.

    account: the account's id
    on_time: share of the last 20 deliveries that came no later than promised, 0-1; null before there are 10
    defective: share of the pieces inspected of the last 20 inspected deliveries, 0-1; null before there are 10
    measured_at: when one of the two was measured last
    terms: the terms that are measured so
    told: by agreement and term (a bar between) the value that the log was told last
    deliveries: the last deliveries: when promised, which, whether late
    inspections: the last inspected deliveries: when, which, pieces defective and inspected
    """

    account: str
    on_time: float | None = None
    defective: float | None = None
    measured_at: datetime | None = None
    terms: list[Agreed] = field(default_factory=list)
    told: dict[str, float] = field(default_factory=dict)
    deliveries: list[Counted] = field(default_factory=list)
    inspections: list[Counted] = field(default_factory=list)


delivered_terms = Projection("delivered_terms", version=1, row=DeliveredTerms, key=account_of)


@delivered_terms.on(AgreementSigned)
def signed(row: DeliveredTerms, event: Event[AgreementSigned]) -> DeliveredTerms | None:
    """These are the terms."""
    return _agree(row, event.data.agreement_id, event.data.terms, event.time)


@delivered_terms.on(AgreementRenewed)
def renewed(row: DeliveredTerms, event: Event[AgreementRenewed]) -> DeliveredTerms | None:
    """They stay, unless it says others."""
    named = event.data.agreement_id
    if event.data.terms is not None:
        return _agree(row, named, event.data.terms, event.time)
    row.terms = [
        structs.replace(term, at=max(term.at, event.time)) if term.agreement_id == named else term for term in row.terms
    ]
    return _kept(row)


@delivered_terms.on(AgreementEnded)
def ended(row: DeliveredTerms, event: Event[AgreementEnded]) -> DeliveredTerms | None:
    """It binds nobody any more; news of the end of an earlier term ends no later one."""
    named = event.data.agreement_id
    row.terms = [term for term in row.terms if term.agreement_id != named or term.at > event.time]
    return _kept(row)


@delivered_terms.on(DeliveryReceived)
def received(row: DeliveredTerms, event: Event[DeliveryReceived]) -> DeliveredTerms:
    """It came in time, or late."""
    data = event.data
    late = int((data.received or event.time) > data.promised)
    row.deliveries = _latest(row.deliveries, Counted(data.promised, data.delivery_id, late, 1))
    bad = _share(row.deliveries)
    row.on_time = None if bad is None else 1 - bad
    row.measured_at = max(row.measured_at or EPOCH, event.time)
    return row


@delivered_terms.on(QualityInspected)
def inspected(row: DeliveredTerms, event: Event[QualityInspected]) -> DeliveredTerms:
    """So much of it was not as it should be."""
    data = event.data
    row.inspections = _latest(row.inspections, Counted(event.time, data.delivery_id, data.defective, data.inspected))
    row.defective = _share(row.inspections)
    row.measured_at = max(row.measured_at or EPOCH, event.time)
    return row


@delivered_terms.on(AgreementTermMeasured)
def was_told(row: DeliveredTerms, event: Event[AgreementTermMeasured]) -> DeliveredTerms:
    """What this read model has said reached the log."""
    row.told[_key(event.data.agreement_id, event.data.term)] = event.data.measured
    return row


@delivered_terms.announces(lambda row: tuple(_values(row).items()))
def moved(before: tuple[tuple[str, float], ...] | None, row: DeliveredTerms, moment: datetime) -> Iterable[EventData]:
    """Terms have another value than before."""
    known = dict(before or ())
    return [_measured(row, key, value) for key, value in _values(row).items() if known.get(key) != value]


@delivered_terms.stands
def stands(row: DeliveredTerms) -> Iterable[tuple[EventData, datetime]]:
    """Terms have a value of which the log does not know."""
    at = row.measured_at or EPOCH
    return [(_measured(row, key, value), at) for key, value in _values(row).items() if row.told.get(key) != value]


def _agree(row: DeliveredTerms, agreement: str, terms: Iterable[Term], at: datetime) -> DeliveredTerms | None:
    if any(term.agreement_id == agreement and term.at > at for term in row.terms):
        return row
    others = [term for term in row.terms if term.agreement_id != agreement]
    ours = [
        Agreed(agreement, term.name, term.measure, term.limit, term.direction, at)
        for term in terms
        if term.measure in (ON_TIME, DEFECTIVE) and term.unit == UNIT
    ]
    row.terms = [*others, *ours][-_TERMS_KEPT:]
    return _kept(row)


def _kept(row: DeliveredTerms) -> DeliveredTerms | None:
    """The row, if there is anything to say in it."""
    return row if row.terms or row.deliveries or row.inspections or row.told else None


def _values(row: DeliveredTerms) -> dict[str, float]:
    shares = {ON_TIME: row.on_time, DEFECTIVE: row.defective}
    found = ((_key(term.agreement_id, term.name), shares[term.measure]) for term in row.terms)
    return {key: value for key, value in found if value is not None}


def _measured(row: DeliveredTerms, key: str, value: float) -> AgreementTermMeasured:
    term = next(term for term in row.terms if _key(term.agreement_id, term.name) == key)
    return AgreementTermMeasured(
        agreement_id=term.agreement_id,
        term=term.name,
        measured=value,
        limit=term.limit,
        direction=term.direction,
        unit=UNIT,
    )


def _key(agreement: str, term: str) -> str:
    return f"{agreement}|{term}"


def _latest(counted: list[Counted], one: Counted) -> list[Counted]:
    latest = [each for each in counted if each.delivery_id != one.delivery_id]
    insort(latest, one)
    return latest[-WINDOW:]


def _share(counted: list[Counted]) -> float | None:
    return sum(one.bad for one in counted) / sum(one.of for one in counted) if len(counted) >= FEWEST else None
