"""Tell the manager when a term of an agreement is broken: an expectation not met, a boundary crossed, by them or by us.

A term is measured by whoever measures the service, and by our own deliveries and inspections; or somebody reports it.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from engage.events.catalogue.agreements import (
    AgreementBreached,
    AgreementEnded,
    AgreementRenewed,
    AgreementSigned,
    LimitDirection,
    Party,
    Term,
    TermKind,
)
from engage.events.catalogue.deliveries import DeliveryReceived, QualityInspected
from engage.events.catalogue.service_levels import ServiceLevelBreached, ServiceLevelMeasured
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Rule, RuleSettings

_ABOUT = 200
_UNIT = 40
_TERMS = 100
_ENDED = 20


class Settings(RuleSettings):
    """A broken term is spoken of when it breaks, and while it stays so no sooner than ``again`` after the last time.

    Terms whose measure is ``on_time`` or ``defective`` (unit ``share``, 0-1) are measured by the last ``window``
    deliveries or inspected deliveries, from ``fewest`` of them on; a delivery is late after ``grace``. ``expires``: how
    long a talk can still help.
    """

    again: timedelta = timedelta(days=30)
    on_time: str = "delivered_on_time"
    defective: str = "defective"
    window: int = 20
    fewest: int = 10
    grace: timedelta = timedelta(0)
    expires: timedelta = timedelta(days=30)


class Watched(Struct, omit_defaults=True, gc=False):
    """A term; ``at`` is when it was last measured, ``asked`` when its being ``broken`` was last spoken of."""

    agreement_id: str
    name: str
    measure: str
    limit: float
    direction: LimitDirection
    unit: str
    kind: TermKind = "expectation"
    at: datetime | None = None
    broken: bool = False
    asked: datetime | None = None


class Sample(Struct, frozen=True, array_like=True, order=True, gc=False):
    """One delivery's part in a share: ``bad`` of ``of`` (pieces, or the delivery itself)."""

    at: datetime
    delivery_id: str
    bad: int
    of: int


class State(Struct, omit_defaults=True, gc=False):
    """The watched terms, when each agreement's were agreed, which agreements ended, and what we measured ourselves."""

    terms: dict[str, Watched] = {}
    agreed: dict[str, datetime] = {}
    ended: list[str] = []
    deliveries: list[Sample] = []
    inspections: list[Sample] = []


rule = Rule("agreement-term-breached", version=1, settings=Settings(), state=State)


@rule.on(AgreementSigned)
def signed(state: State, event: Event[AgreementSigned], settings: Settings) -> None:
    """These are the terms."""
    _agree(state, event.data.agreement_id, event.data.terms, event.time)


@rule.on(AgreementRenewed)
def renewed(state: State, event: Event[AgreementRenewed], settings: Settings) -> None:
    """They stay, unless it says others."""
    if event.data.terms is not None:
        _agree(state, event.data.agreement_id, event.data.terms, event.time)


@rule.on(AgreementEnded)
def ended(state: State, event: Event[AgreementEnded], settings: Settings) -> None:
    """It binds nobody any more."""
    agreement = event.data.agreement_id
    _drop(state, agreement)
    state.agreed.pop(agreement, None)
    state.ended = [*[each for each in state.ended if each != agreement], agreement][-_ENDED:]


@rule.on(ServiceLevelMeasured)
def measured(state: State, event: Event[ServiceLevelMeasured], settings: Settings) -> Iterable[Effect]:
    """A measurement of a term that it names, or of every term on that service in that unit."""
    data = event.data
    if data.agreement_id in state.ended:
        return
    if data.agreement_id is not None and data.term is not None:
        watched = [_named(state, data.agreement_id, data.term, data.service, data.limit, data.direction, data.unit)]
    else:
        watched = [
            each
            for each in state.terms.values()
            if (each.measure, each.unit) == (data.service, data.unit) and data.agreement_id in (None, each.agreement_id)
        ]
    for term in watched:
        yield from _measure(term, data.measured, data.ends or event.time, settings)


@rule.on(AgreementBreached)
def breached(state: State, event: Event[AgreementBreached], settings: Settings) -> Iterable[Effect]:
    """Somebody says that a term was not kept."""
    data = event.data
    if data.agreement_id in state.ended:
        return
    direction: LimitDirection = "at_least" if data.measured < data.limit else "at_most"
    term = _named(state, data.agreement_id, data.term, data.term, data.limit, direction, data.unit or "")
    yield from _break(term, data.measured, data.limit, event.time, data.by, settings)


@rule.on(ServiceLevelBreached)
def level_breached(state: State, event: Event[ServiceLevelBreached], settings: Settings) -> Iterable[Effect]:
    """A level that belongs to a term; others are nobody's promise."""
    data = event.data
    if data.agreement_id is not None and data.term is not None and data.agreement_id not in state.ended:
        direction: LimitDirection = "at_least" if data.measured < data.limit else "at_most"
        term = _named(state, data.agreement_id, data.term, data.service, data.limit, direction, data.unit)
        yield from _break(term, data.measured, data.limit, event.time, None, settings)


@rule.on(DeliveryReceived)
def received(state: State, event: Event[DeliveryReceived], settings: Settings) -> Iterable[Effect]:
    """Our own measurement of how much comes on time."""
    data = event.data
    late = (data.received or event.time) > data.promised + settings.grace
    state.deliveries = _latest(state.deliveries, Sample(data.promised, data.delivery_id, int(late), 1), settings)
    yield from _share(state, state.deliveries, settings.on_time, event.time, settings, good=True)


@rule.on(QualityInspected)
def inspected(state: State, event: Event[QualityInspected], settings: Settings) -> Iterable[Effect]:
    """And of how much of it is defective."""
    data = event.data
    found = Sample(event.time, data.delivery_id, data.defective, data.inspected)
    state.inspections = _latest(state.inspections, found, settings)
    yield from _share(state, state.inspections, settings.defective, event.time, settings, good=False)


def _agree(state: State, agreement: str, terms: tuple[Term, ...], at: datetime) -> None:
    """The terms that were agreed last; those that are not new keep what is known of them."""
    if agreement in state.ended or (agreement in state.agreed and state.agreed[agreement] > at):
        return
    known = _drop(state, agreement)
    state.agreed[agreement] = at
    for term in terms:
        key = _key(agreement, term.name)
        watched = Watched(agreement, term.name, term.measure, term.limit, term.direction, term.unit, term.kind)
        if key in known:
            watched.at, watched.broken, watched.asked = known[key].at, known[key].broken, known[key].asked
        state.terms[key] = watched
    _tidy(state)


def _drop(state: State, agreement: str) -> dict[str, Watched]:
    dropped = {key: term for key, term in state.terms.items() if term.agreement_id == agreement}
    for key in dropped:
        del state.terms[key]
    return dropped


def _named(
    state: State, agreement: str, name: str, measure: str, limit: float, direction: LimitDirection, unit: str
) -> Watched:
    """The term of that name; one that nobody told us of is as the event says."""
    term = state.terms.setdefault(_key(agreement, name), Watched(agreement, name, measure, limit, direction, unit))
    _tidy(state)
    return term


def _tidy(state: State) -> None:
    for key in list(state.terms)[:-_TERMS]:
        del state.terms[key]
    for agreement in list(state.agreed)[:-_TERMS]:
        del state.agreed[agreement]


def _key(agreement: str, name: str) -> str:
    return f"{agreement}|{name}"[:_ABOUT]


def _latest(samples: list[Sample], sample: Sample, settings: Settings) -> list[Sample]:
    """The last ``window`` samples, one a delivery."""
    latest = [each for each in samples if each.delivery_id != sample.delivery_id]
    insort(latest, sample)
    return latest[-settings.window :]


def _share(
    state: State, samples: list[Sample], measure: str, at: datetime, settings: Settings, *, good: bool
) -> Iterable[Effect]:
    if len(samples) < settings.fewest:
        return
    bad = sum(each.bad for each in samples) / sum(each.of for each in samples)
    for term in state.terms.values():
        if (term.measure, term.unit) == (measure, "share"):
            yield from _measure(term, 1 - bad if good else bad, max(term.at or at, at), settings)


def _measure(term: Watched, value: float, at: datetime, settings: Settings) -> Iterable[Effect]:
    """A measurement older than the last one tells nothing of today."""
    if term.at is not None and at < term.at:
        return
    kept = value >= term.limit if term.direction == "at_least" else value <= term.limit
    if kept:
        term.at, term.broken = at, False
    else:
        yield from _break(term, value, term.limit, at, None, settings)


def _break(
    term: Watched, value: float, limit: float, at: datetime, by: Party | None, settings: Settings
) -> Iterable[Effect]:
    if term.at is not None and at < term.at:
        return
    term.at = at
    if term.broken and term.asked is not None and at - term.asked < settings.again:
        return
    term.broken, term.asked = True, at
    crossed = "boundary" if term.kind == "boundary" else "expectation"
    limits = "at least" if term.direction == "at_least" else "at most"
    yield FollowUpRequest(
        what="make good our own breach" if by == "us" else "talk about a breached term",
        why=f"The {crossed} “{term.name}” of agreement {term.agreement_id} is broken{' by us' if by == 'us' else ''}: "
        f"{limits} {_worded(limit, term.unit)} was agreed, {_worded(value, term.unit)} was measured.",
        about=_key(term.agreement_id, term.name),
        purpose="partnership",
        priority="urgent" if by == "us" or term.kind == "boundary" else "high",
        due=timedelta(days=1) if by == "us" or term.kind == "boundary" else timedelta(days=3),
        expires=settings.expires,
    )


def _worded(value: float, unit: str) -> str:
    return f"{value:.1%}" if unit == "share" else f"{value:g} {unit[:_UNIT]}".rstrip()
