"""Tell the relationship manager when trust falls: many small disappointments end a partnership as a large one does.

What happened fades with time. Whoever caused it, it counts: a partner we pay late trusts us as little as we trust one
who delivers late.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

import msgspec
from msgspec import Struct

from engage.events.catalogue.agreements import AgreementBreached
from engage.events.catalogue.deliveries import DeliveryReceived, DeliveryRejected
from engage.events.catalogue.disputes import DisputeEscalated, DisputeOpened
from engage.events.catalogue.invoices import InvoiceOverdue, InvoicePaid
from engage.events.catalogue.service_levels import ServiceLevelBreached
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Rule, RuleSettings
from engage.views.decay import faded, half_life

TRUST = "trust"
_REMEMBERED = 40
# In half-lives: what is older is not worth telling.
_STILL_WEIGHS = 3
Kind = Literal["late deliveries", "rejected deliveries", "breaches", "disputes", "escalations", "late payments"]


def _points() -> dict[Kind, float]:
    return {
        "late deliveries": 1,
        "rejected deliveries": 1,
        "breaches": 2,
        "disputes": 2,
        "escalations": 2,
        "late payments": 1,
    }


class Settings(RuleSettings):
    """Trust is 0-100: 100 with nothing held against each other, and half as much for every ``halved_by`` points.

    ``points``: what each disappointment counts; after each ``fades`` it counts half as much. Trust has fallen below
    ``low``, and has been regained from ``regained`` on. A delivery or a payment is late after ``grace``. ``expires``:
    how long a talk can still help.
    """

    points: dict[Kind, float] = msgspec.field(default_factory=_points)
    halved_by: float = 5.0
    fades: timedelta = timedelta(days=60)
    low: float = 50.0
    regained: float = 70.0
    grace: timedelta = timedelta(days=1)
    expires: timedelta = timedelta(days=30)


class Harm(Struct, frozen=True, array_like=True, order=True, gc=False):
    """A disappointment: when, of which kind, and what about."""

    at: datetime
    kind: Kind
    about: str


class State(Struct, omit_defaults=True, gc=False):
    """The latest disappointments, in order of time, and whether the manager was told that trust has fallen."""

    harms: list[Harm] = []
    fallen: bool = False


rule = Rule("trust-falling", version=1, settings=Settings(), state=State)


@rule.on(DeliveryReceived)
def received(state: State, event: Event[DeliveryReceived], settings: Settings) -> Iterable[Effect]:
    """Late, or as promised."""
    data = event.data
    at = data.received or event.time
    if at > data.promised + settings.grace:
        yield from _count(state, event.now, Harm(at, "late deliveries", data.delivery_id), settings)


@rule.on(DeliveryRejected)
def rejected(state: State, event: Event[DeliveryRejected], settings: Settings) -> Iterable[Effect]:
    """What came was not what we need."""
    return _count(state, event.now, Harm(event.time, "rejected deliveries", event.data.delivery_id), settings)


@rule.on(AgreementBreached)
def breached(state: State, event: Event[AgreementBreached], settings: Settings) -> Iterable[Effect]:
    """Somebody's word was not kept; the same term counts once a day."""
    about = f"{event.data.agreement_id}|{event.data.term}|{event.time.date()}"
    return _count(state, event.now, Harm(event.time, "breaches", about), settings)


@rule.on(ServiceLevelBreached)
def level_breached(state: State, event: Event[ServiceLevelBreached], settings: Settings) -> Iterable[Effect]:
    """A level was missed; where it is a term's, it is the same breach."""
    name = f"{event.data.agreement_id}|{event.data.term}" if event.data.term else event.data.service
    return _count(state, event.now, Harm(event.time, "breaches", f"{name}|{event.time.date()}"), settings)


@rule.on(DisputeOpened)
def disputed(state: State, event: Event[DisputeOpened], settings: Settings) -> Iterable[Effect]:
    """The two do not agree."""
    return _count(state, event.now, Harm(event.time, "disputes", event.data.dispute_id), settings)


@rule.on(DisputeEscalated)
def escalated(state: State, event: Event[DisputeEscalated], settings: Settings) -> Iterable[Effect]:
    """And could not settle it between them."""
    return _count(state, event.now, Harm(event.time, "escalations", event.data.dispute_id), settings)


@rule.on(InvoicePaid)
def paid(state: State, event: Event[InvoicePaid], settings: Settings) -> Iterable[Effect]:
    """Late, or in time; an invoice is late once, however many payments it takes."""
    data = event.data
    if data.due is not None and event.time > data.due + settings.grace:
        yield from _count(state, event.now, Harm(event.time, "late payments", data.invoice_id), settings)


@rule.on(InvoiceOverdue)
def overdue(state: State, event: Event[InvoiceOverdue], settings: Settings) -> Iterable[Effect]:
    """It is late before it is paid."""
    return _count(state, event.now, Harm(event.time, "late payments", event.data.invoice_id), settings)


def _count(state: State, now: datetime, harm: Harm, settings: Settings) -> Iterable[Effect]:
    """Each disappointment once, as of when we first could know of it, in whatever order the news comes."""
    known = next((each for each in state.harms if (each.kind, each.about) == (harm.kind, harm.about)), None)
    if known is not None and known <= harm:
        return
    state.fallen = state.fallen and _trust(state, now, settings) < settings.regained
    if known is not None:
        state.harms.remove(known)
    insort(state.harms, harm)
    del state.harms[:-_REMEMBERED]
    trust = _trust(state, now, settings)
    if not state.fallen and trust < settings.low:
        state.fallen = True
        weighing = [each for each in state.harms if now - each.at < _STILL_WEIGHS * settings.fades] or state.harms
        counts = Counter(each.kind for each in weighing)
        told = ", ".join(f"{kind}: {count}" for kind, count in sorted(counts.items()))
        yield FollowUpRequest(
            what="rebuild trust",
            why=f"Trust stands at {trust:.0f} of 100. Since {weighing[0].at.date()} {told}.",
            about=TRUST,
            purpose="partnership",
            priority="high",
            due=timedelta(days=2),
            expires=settings.expires,
        )


def _trust(state: State, now: datetime, settings: Settings) -> float:
    """0-100 as of ``now``."""
    fades = half_life(settings.fades)
    points = sum(
        settings.points.get(harm.kind, 0.0) * faded(max((now - harm.at).total_seconds(), 0.0), fades)
        for harm in state.harms
    )
    return 100.0 * faded(points, settings.halved_by)
