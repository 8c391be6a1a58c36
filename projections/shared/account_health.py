"""How is each relationship doing, how sure are we, and which events made it so?

Customers and partners share the table; what counts for them lies in ``projections/customers/health`` and
``projections/partners/health``, the arithmetic in ``engage.views``. A row is as of its last event: silence lowers
what it says, so ask ``score_at`` and ``explain`` for any later moment.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct, field

from engage.events.catalogue.profile import AccountIdentified, AccountKind
from engage.events.envelope import EPOCH, Event, is_account
from engage.views import health
from engage.views.evidence import Component, Evidence, Marking, Markings, Reason
from engage.views.health import Assessment, Band, Explanation
from engage.views.projection import Projection
from projections.customers import health as customers
from projections.partners import health as partners
from projections.shared import payment_health

COMPONENTS: dict[str, Component] = {
    component.name: component for component in (*customers.COMPONENTS, payment_health.PAYMENTS, *partners.COMPONENTS)
}
MARKINGS: tuple[Markings, ...] = (*customers.MARKINGS, payment_health.markings, *partners.MARKINGS)


class AccountHealth(Struct):
    """One account's health, as of its last event; silence lowers what it says from then on.

    account: the account's id
    kind: customer, vendor, supplier, distributor, reseller or partner; null until somebody said so
    score: the weighted mean of the known components, 0-100; null while none is known
    band: thriving (from 70), steady (from 40), slipping (from 20), at_risk (below) or unknown
    confidence: how much evidence there is, 0-1; two purchases or four deliveries of late make a half
    as_of: the log's time of the last event that counted; all values are as they were then
    purchasing: how much a customer buys, and how lately, 0-100; it carries a customer's score
    engagement: how much a customer takes part, 0-100: newsletters, videos, tutorials, adverts, visits
    satisfaction: what a customer says of us, 0-100: surveys and reviews
    support: how well we helped a customer, 0-100: waits for a first answer, reopened tickets, ratings
    payments: how payments go, 0-100: refunds, failures and chargebacks; invoices paid on time, in either direction
    delivery: whether a partner delivers on time and in full, 0-100
    quality: how good it is what a partner delivers, 0-100
    responsiveness: how soon a partner answers us, 0-100
    disputes: how disputes with a partner go, 0-100
    compliance: whether a partner keeps to what was agreed, 0-100
    reasons: by component the events that moved it most, with their contribution in points when it last changed
    evidence: by component what its value is computed from: sum, weight and their moment, number of marks, days marked
    version: how many events have counted
    """

    account: str
    kind: AccountKind | None = None
    score: float | None = None
    band: Band = "unknown"
    confidence: float = 0.0
    as_of: datetime = EPOCH
    purchasing: float | None = None
    engagement: float | None = None
    satisfaction: float | None = None
    support: float | None = None
    payments: float | None = None
    delivery: float | None = None
    quality: float | None = None
    responsiveness: float | None = None
    disputes: float | None = None
    compliance: float | None = None
    reasons: dict[str, list[Reason]] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    version: int = 0


def _account(event: Event[Any]) -> str | None:
    return event.subject if is_account(event.subject) else None


account_health = Projection("account_health", version=2, row=AccountHealth, key=_account)


@account_health.on(AccountIdentified)
def identified(row: AccountHealth, event: Event[AccountIdentified]) -> AccountHealth:
    """Somebody told us what kind of account it is."""
    row.kind = event.data.kind or row.kind
    return _renewed(row, event)


def _folding(marking: Marking) -> Any:
    def fold(row: AccountHealth, event: Event[Any]) -> AccountHealth:
        marking(row, event)
        return _renewed(row, event)

    return fold


for _markings in MARKINGS:
    for _kind, _marking in _markings.items():
        account_health.on(_kind)(_folding(_marking))


def score_at(row: AccountHealth, moment: datetime) -> Assessment:
    """The account's health at ``moment``, if nothing happens until then; ValueError before ``row.as_of``."""
    _not_before(row, moment)
    return health.assess(COMPONENTS, row.evidence, moment)


def explain(row: AccountHealth, moment: datetime) -> list[Explanation]:
    """Why it is so at ``moment``: the known components, the weightiest first; ValueError before ``row.as_of``."""
    _not_before(row, moment)
    return health.explain(COMPONENTS, row, moment)


def _not_before(row: AccountHealth, moment: datetime) -> None:
    if moment < row.as_of:
        raise ValueError(f"the health of {row.account!r} is as of {row.as_of}: ask for that moment or a later one")


def _renewed(row: AccountHealth, event: Event[Any]) -> AccountHealth:
    row.as_of = event.now
    assessment = health.assess(COMPONENTS, row.evidence, event.now)
    row.score, row.band, row.confidence = assessment.score, assessment.band, assessment.confidence
    for name, value in assessment.components.items():
        setattr(row, name, value)
    row.version += 1
    return row
