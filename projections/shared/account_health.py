"""How is each relationship doing, how sure are we, and which events made it so?

Customers and partners share the table; what counts for them lies in ``projections/customers/health`` and
``projections/partners/health``, the arithmetic in ``engage.views``. Silence lowers what a row says: it is woken on the
day on which its band may change, and tells the log when it has. For any other moment ask ``score_at`` and ``explain``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from msgspec import Struct, field

from engage.events.catalogue.base import EventData
from engage.events.catalogue.health import Band, HealthBandCrossed, HealthBandStands, KnownBand
from engage.events.catalogue.profile import AccountIdentified, AccountKind
from engage.events.envelope import EPOCH, Event
from engage.views import health, weekly
from engage.views.evidence import Component, Evidence, Marking, Markings, Reason
from engage.views.health import Assessment, Explanation
from engage.views.outlook import next_look
from engage.views.projection import Projection, account_of
from engage.views.weekly import Weekly
from projections.customers import health as customers
from projections.customers.health import rhythm
from projections.partners import health as partners
from projections.shared import payment_health

COMPONENTS: dict[str, Component] = {
    component.name: component for component in (*customers.COMPONENTS, payment_health.PAYMENTS, *partners.COMPONENTS)
}
MARKINGS: tuple[Markings, ...] = (*customers.MARKINGS, payment_health.markings, *partners.MARKINGS)


class AccountHealth(Struct):
    """One account's health, as of its last event or wake; silence lowers what it says from then on.

    account: the account's id
    kind: customer, vendor, supplier, distributor, reseller or partner; null until somebody said so
    score: the weighted mean of the known components, 0-100; null while none is known
    band: thriving (from 70), steady (from 40), slipping (from 20), at_risk (below) or unknown
    band_since: the log's time at which the band became what it is; null while it never was known
    mover: the component that moved the score most when the band last changed; null while it never was known
    trend: the score now minus the score 28 days before, in points; null when one of them is unknown
    confidence: how much evidence there is, 0-1; two purchases or four deliveries of late make a half
    as_of: the log's time of the last event that counted, or of the last wake; all values are as they were then
    purchasing: how much a customer buys, and how lately, 0-100; it carries a customer's score
    rhythm: whether a customer keeps their own buying rhythm, 0-100; beside the score, and unknown before two days
    engagement: how much a customer takes part, 0-100: newsletters, videos, tutorials, adverts, visits
    satisfaction: what a customer says of us, 0-100: surveys and reviews
    support: how well we helped a customer, 0-100: waits for a first answer, reopened tickets, ratings
    payments: how payments go, 0-100: refunds, failures and chargebacks; invoices paid on time, in either direction
    delivery: whether a partner delivers on time and in full, 0-100
    quality: how good it is what a partner delivers, 0-100
    responsiveness: how soon a partner answers us, 0-100
    disputes: how disputes with a partner go, 0-100
    compliance: whether a partner keeps to what was agreed, 0-100
    trust: whether a partner and we keep our word to each other, 0-100: promises kept or broken, boundaries crossed
    reasons: by component the events that moved it most, with their contribution in points when it last changed
    evidence: by component what its value is computed from: sum, weight and their moment, number of marks, days marked
    weekly: the score when each of the last weeks began, as it was seen then: week since 1970-01-01 and score
    bought_on: the latest days of purchases, as ordinals (UTC)
    boundaries: the boundaries agreed with a partner, as agreement and term
    next_look: when silence may change the band at the earliest; null for never
    told: the band that the log was told last; null before the first
    version: how many events have counted
    """

    account: str
    kind: AccountKind | None = None
    score: float | None = None
    band: Band = "unknown"
    band_since: datetime | None = None
    mover: str | None = None
    trend: float | None = None
    confidence: float = 0.0
    as_of: datetime = EPOCH
    purchasing: float | None = None
    rhythm: float | None = None
    engagement: float | None = None
    satisfaction: float | None = None
    support: float | None = None
    payments: float | None = None
    delivery: float | None = None
    quality: float | None = None
    responsiveness: float | None = None
    disputes: float | None = None
    compliance: float | None = None
    trust: float | None = None
    reasons: dict[str, list[Reason]] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    weekly: list[Weekly] = field(default_factory=list)
    bought_on: list[int] = field(default_factory=list)
    boundaries: list[str] = field(default_factory=list)
    next_look: datetime | None = None
    told: KnownBand | None = None
    version: int = 0


account_health = Projection(
    "account_health", version=4, row=AccountHealth, key=account_of, indexes=(("band", "score"), "trend")
)


@account_health.on(AccountIdentified)
def identified(row: AccountHealth, event: Event[AccountIdentified]) -> AccountHealth:
    """Somebody told us what kind of account it is."""
    _close_weeks(row, event.now)
    row.kind = event.data.kind or row.kind
    return _counted(row, event.now)


def _folding(markings: list[Marking]) -> Callable[[AccountHealth, Event[Any]], AccountHealth]:
    def fold(row: AccountHealth, event: Event[Any]) -> AccountHealth:
        _close_weeks(row, event.now)
        for marking in markings:
            marking(row, event)
        return _counted(row, event.now)

    return fold


for _kind in dict.fromkeys(kind for markings in MARKINGS for kind in markings):
    account_health.on(_kind)(_folding([markings[_kind] for markings in MARKINGS if _kind in markings]))


@account_health.on(HealthBandCrossed, HealthBandStands)
def was_told(row: AccountHealth, event: Event[Any]) -> AccountHealth:
    """What this read model has said reached the log."""
    row.told = event.data.band
    return row


@account_health.on_wake(lambda row: row.next_look)
def looked_at(row: AccountHealth, moment: datetime) -> AccountHealth:
    """Nothing happened, and so the band may be another."""
    _close_weeks(row, moment)
    return _renewed(row, moment)


@account_health.announces(lambda row: row.band)
def crossed(before: Band | None, row: AccountHealth, moment: datetime) -> Iterable[EventData]:
    """It is in another band than before, or in its first one; that it becomes unknown again crosses nothing."""
    if row.band == "unknown" or row.score is None or row.mover is None:
        return ()
    told = HealthBandCrossed(
        before=before or "unknown",
        band=row.band,
        score=row.score,
        component=row.mover,
        value=getattr(row, row.mover),
    )
    return (told,)


@account_health.stands
def stands(row: AccountHealth) -> Iterable[tuple[EventData, datetime]]:
    """It is in a band of which the log does not know."""
    if row.band == "unknown" or row.band == row.told or row.score is None or row.band_since is None:
        return ()
    return ((HealthBandStands(band=row.band, score=row.score), row.band_since),)


def score_at(row: AccountHealth, moment: datetime) -> Assessment:
    """The account's health at ``moment``, if nothing happens until then; ValueError before ``row.as_of``."""
    _not_before(row, moment)
    return _assess(row, moment)


def trend_at(row: AccountHealth, moment: datetime) -> float | None:
    """By how many points the score at ``moment`` differs from that of 28 days before, if nothing happens until then.

    None when one of the two is unknown; ValueError before ``row.as_of``.
    """
    now = score_at(row, moment).score
    then = weekly.before(row.weekly, row.as_of, moment, _scoring(row))
    return None if now is None or then is None else now - then


def explain(row: AccountHealth, moment: datetime) -> list[Explanation]:
    """Why it is so at ``moment``: the known components, the weightiest first; ValueError before ``row.as_of``."""
    _not_before(row, moment)
    beside = rhythm.explain(row, moment)
    return [*health.explain(COMPONENTS, row, moment), *([] if beside is None else [beside])]


def _not_before(row: AccountHealth, moment: datetime) -> None:
    if moment < row.as_of:
        raise ValueError(f"the health of {row.account!r} is as of {row.as_of}: ask for that moment or a later one")


def _assess(row: AccountHealth, moment: datetime) -> Assessment:
    seen = health.assess(COMPONENTS, row.evidence, moment)
    if row.bought_on:
        seen.components[rhythm.NAME] = rhythm.value(row.bought_on, moment)
    return seen


def _scoring(row: AccountHealth) -> Callable[[datetime], float | None]:
    return lambda moment: health.score_of(COMPONENTS, row.evidence, moment)


def _close_weeks(row: AccountHealth, now: datetime) -> None:
    """Keep how the score stood when the weeks began that have begun since, before anything new is counted."""
    if row.evidence and weekly.week_of(now) > weekly.week_of(row.as_of):
        weekly.remember(row.weekly, row.as_of, now, _scoring(row))


def _counted(row: AccountHealth, now: datetime) -> AccountHealth:
    row.version += 1
    return _renewed(row, now)


def _renewed(row: AccountHealth, moment: datetime) -> AccountHealth:
    seen = _assess(row, moment)
    if seen.band != row.band:
        row.band_since, row.mover = moment, _mover(row, seen)
    row.as_of = moment
    row.score, row.band, row.confidence = seen.score, seen.band, seen.confidence
    for name, value in seen.components.items():
        setattr(row, name, value)
    then = weekly.before(row.weekly, moment, moment, _scoring(row)) if row.weekly else None
    row.trend = None if then is None or seen.score is None else seen.score - then
    row.next_look = next_look(COMPONENTS, row.evidence, seen)
    return row


def _mover(row: AccountHealth, seen: Assessment) -> str | None:
    """The component that moved the score most towards where it stands: by its own change, or by becoming known."""
    if seen.score is None:
        return row.mover
    was = 0.0 if row.score is None else row.score
    up = 1.0 if seen.score >= was else -1.0

    def moved(name: str) -> float:
        before, now = getattr(row, name), seen.components[name]
        assert now is not None, "only known components weigh"
        return up * seen.weights[name] * (now - (was if before is None else before))

    return max(seen.weights, key=moved)
