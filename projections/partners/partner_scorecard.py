"""How does each partner do, in plain numbers that both sides can check, and how does this quarter compare to the last?

``account_health`` weighs and forgets; a scorecard counts. Who is known to be a customer has none, and invoices alone
make nobody a partner.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from msgspec import Struct, field

from engage.events.catalogue.agreements import (
    AgreementBreached,
    AgreementEnded,
    AgreementRenewed,
    AgreementSigned,
)
from engage.events.catalogue.deliveries import (
    DeliveryPostponed,
    DeliveryReceived,
    DeliveryRejected,
    QualityInspected,
)
from engage.events.catalogue.disputes import DisputeEscalated, DisputeOpened, DisputeSettled
from engage.events.catalogue.invoices import InvoiceOverdue, InvoicePaid
from engage.events.catalogue.profile import AccountIdentified, AccountKind
from engage.events.catalogue.service_levels import RequestAnswered, ServiceLevelBreached, ServiceLevelMeasured
from engage.events.envelope import Event
from engage.views import health
from engage.views.evidence import Evidence, Marking, Reason
from engage.views.projection import Projection, account_of
from projections.partners.health import trust
from projections.partners.quarters import Lately, Quarter, quarter_in, quarter_of, replaced, trend

ANSWERS_KEPT, OPEN_KEPT = 50, 100
GRACE = timedelta(days=1)
"""What comes or is paid within a day of its date is on time."""


class PartnerScorecard(Struct):
    """One partner's record since the beginning, and by quarter.

    account: the account's id
    kind: vendor, supplier, distributor, reseller or partner; null until somebody said so
    deliveries: number of deliveries received or sent back
    deliveries_on_time: number of them that came no later than a day after their promise
    deliveries_in_full: number of them with all pieces ordered, and not sent back
    on_time_in_full: number of them that were both
    on_time_in_full_share: their share of deliveries, 0-1; null without deliveries
    last_delivery: when the last one came
    inspections: number of deliveries inspected
    inspected: number of pieces looked at
    defective: number of pieces found wanting
    defects_ppm: defective pieces in a million looked at; null without inspections
    last_inspection: when the last inspection was
    answers: number of our requests that they answered
    answer_hours_p50: half of the last 50 answers took no longer than this, hours; null without answers
    last_answer: when they answered last
    disputes_opened: number of disputes opened, by either side
    disputes_open: number of them that are not settled
    disputes_escalated: number of times that one was escalated
    disputes_per_100_deliveries: disputes opened for each hundred deliveries; null without deliveries
    last_dispute: when the last one was opened
    levels_measured: number of times that a service level was measured
    levels_kept: number of them on the good side of the limit
    levels_kept_share: their share, 0-1; null without any
    breaches: number of breaches of agreed terms and levels, ours left out
    last_breach: when the last one was
    invoices: number of invoices, in either direction, that were paid or overdue
    invoices_on_time: number of them paid no later than a day after they were due, as far as that was said
    invoices_on_time_share: their share, 0-1; null without any
    last_invoice: when one was last paid or overdue
    trust: whether they and we keep our word to each other, 0-100, as of the last such event; null until there is one
    words: number of words kept or broken that trust is computed from
    last_word: when the last one was kept or broken
    quarters: the last five quarters in which something was counted, oldest first
    on_time_in_full_trend: its share in the last quarter minus that of the one before, -1 to 1; null if one has none
    defects_trend_ppm: defects per million of the last quarter minus those of the one before; null if one has none
    answer_hours: hours that the last answers took, in the order of their coming
    deliveries_lately: the last deliveries counted, so that each counts once
    invoices_lately: the last invoices counted, so that each counts once
    disputes_unsettled: the disputes that are open
    boundaries: the boundaries agreed, as agreement and term
    reasons: the words that moved trust most
    evidence: what trust is computed from
    """

    account: str
    kind: AccountKind | None = None
    deliveries: int = 0
    deliveries_on_time: int = 0
    deliveries_in_full: int = 0
    on_time_in_full: int = 0
    on_time_in_full_share: float | None = None
    last_delivery: datetime | None = None
    inspections: int = 0
    inspected: int = 0
    defective: int = 0
    defects_ppm: float | None = None
    last_inspection: datetime | None = None
    answers: int = 0
    answer_hours_p50: float | None = None
    last_answer: datetime | None = None
    disputes_opened: int = 0
    disputes_open: int = 0
    disputes_escalated: int = 0
    disputes_per_100_deliveries: float | None = None
    last_dispute: datetime | None = None
    levels_measured: int = 0
    levels_kept: int = 0
    levels_kept_share: float | None = None
    breaches: int = 0
    last_breach: datetime | None = None
    invoices: int = 0
    invoices_on_time: int = 0
    invoices_on_time_share: float | None = None
    last_invoice: datetime | None = None
    trust: float | None = None
    words: int = 0
    last_word: datetime | None = None
    quarters: list[Quarter] = field(default_factory=list)
    on_time_in_full_trend: float | None = None
    defects_trend_ppm: float | None = None
    answer_hours: list[float] = field(default_factory=list)
    deliveries_lately: list[Lately] = field(default_factory=list)
    invoices_lately: list[Lately] = field(default_factory=list)
    disputes_unsettled: list[str] = field(default_factory=list)
    boundaries: list[str] = field(default_factory=list)
    reasons: dict[str, list[Reason]] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)


Counting = Callable[[PartnerScorecard, Event[Any]], None]


partner_scorecard = Projection(
    "partner_scorecard",
    version=1,
    row=PartnerScorecard,
    key=account_of,
    indexes=("on_time_in_full_share", "defects_ppm", "trust"),
)


@partner_scorecard.on(AccountIdentified)
def identified(row: PartnerScorecard, event: Event[AccountIdentified]) -> PartnerScorecard | None:
    """A customer is measured elsewhere; who has no kind yet gets a row when there is something to count."""
    kind = event.data.kind or row.kind
    if kind == "customer" or (kind is None and not _counted(row)):
        return None
    row.kind = kind
    return row


def received(row: PartnerScorecard, event: Event[DeliveryReceived]) -> None:
    """A delivery came; more of the same one counts as the whole it is by then."""
    data = event.data
    at = data.received or event.time
    came = Lately(
        data.delivery_id, quarter_of(at), at <= data.promised + GRACE, data.units_received >= data.units_ordered
    )
    row.last_delivery = _latest(row.last_delivery, at)
    _deliver(row, came)


def rejected(row: PartnerScorecard, event: Event[DeliveryRejected]) -> None:
    """What was sent back did not come in full."""
    named = event.data.delivery_id
    known = next((one for one in row.deliveries_lately if one.about == named), None)
    if known is not None:
        _deliver(row, Lately(named, known.quarter, known.on_time, in_full=False))
    else:
        _deliver(row, Lately(named, quarter_of(event.time), on_time=False, in_full=False))


def inspected(row: PartnerScorecard, event: Event[QualityInspected]) -> None:
    """Pieces were looked at."""
    data = event.data
    row.inspections += 1
    row.inspected += data.inspected
    row.defective += data.defective
    row.defects_ppm = 1e6 * row.defective / row.inspected
    row.last_inspection = _latest(row.last_inspection, event.time)
    if (quarter := quarter_in(row.quarters, quarter_of(event.time))) is not None:
        quarter.inspected += data.inspected
        quarter.defective += data.defective


def answered(row: PartnerScorecard, event: Event[RequestAnswered]) -> None:
    """They answered."""
    row.answers += 1
    row.answer_hours = [*row.answer_hours, round(event.data.waited / 3600, 2)][-ANSWERS_KEPT:]
    row.answer_hours_p50 = median(row.answer_hours)
    row.last_answer = _latest(row.last_answer, event.time)


def disputed(row: PartnerScorecard, event: Event[DisputeOpened]) -> None:
    """We differ."""
    if event.data.dispute_id in row.disputes_unsettled:
        return
    row.disputes_unsettled = [*row.disputes_unsettled, event.data.dispute_id][-OPEN_KEPT:]
    row.disputes_opened += 1
    row.last_dispute = _latest(row.last_dispute, event.time)
    if (quarter := quarter_in(row.quarters, quarter_of(event.time))) is not None:
        quarter.disputes_opened += 1


def escalated(row: PartnerScorecard, event: Event[DisputeEscalated]) -> None:
    """And could not settle it between us."""
    row.disputes_escalated += 1


def settled(row: PartnerScorecard, event: Event[DisputeSettled]) -> None:
    """We agree again."""
    row.disputes_unsettled = [one for one in row.disputes_unsettled if one != event.data.dispute_id]


def level_measured(row: PartnerScorecard, event: Event[ServiceLevelMeasured]) -> None:
    """A level was kept, or not."""
    data = event.data
    row.levels_measured += 1
    row.levels_kept += data.measured >= data.limit if data.direction == "at_least" else data.measured <= data.limit
    row.levels_kept_share = row.levels_kept / row.levels_measured


def breached(row: PartnerScorecard, event: Event[AgreementBreached | ServiceLevelBreached]) -> None:
    """A term or a level was not kept; where it was ours, it is not theirs to answer for."""
    if isinstance(event.data, AgreementBreached) and event.data.by == "us":
        return
    row.breaches += 1
    row.last_breach = _latest(row.last_breach, event.time)
    if (quarter := quarter_in(row.quarters, quarter_of(event.time))) is not None:
        quarter.breaches += 1


def paid(row: PartnerScorecard, event: Event[InvoicePaid]) -> None:
    """One invoice, however many payments; without a due date it is on time unless we heard otherwise."""
    due = event.data.due
    _pay(row, event, on_time=due is None or event.time <= due + GRACE)


def overdue(row: PartnerScorecard, event: Event[InvoiceOverdue]) -> None:
    """Late, whatever comes."""
    _pay(row, event, on_time=False)


_COUNTED: dict[Any, Counting | None] = {
    DeliveryReceived: received,
    DeliveryRejected: rejected,
    DeliveryPostponed: None,
    QualityInspected: inspected,
    RequestAnswered: answered,
    DisputeOpened: disputed,
    DisputeEscalated: escalated,
    DisputeSettled: settled,
    ServiceLevelMeasured: level_measured,
    ServiceLevelBreached: breached,
    AgreementSigned: None,
    AgreementRenewed: None,
    AgreementEnded: None,
    AgreementBreached: breached,
    InvoicePaid: paid,
    InvoiceOverdue: overdue,
}
"""What each type counts for, beside trust."""


def _folding(kind: Any, counting: Counting | None) -> Callable[[PartnerScorecard, Event[Any]], PartnerScorecard | None]:
    of_anybody, word = kind in (InvoicePaid, InvoiceOverdue), trust.markings.get(kind)

    def fold(row: PartnerScorecard, event: Event[Any]) -> PartnerScorecard | None:
        if of_anybody and row.kind is None and not _counted(row):
            return None
        if counting is not None:
            counting(row, event)
        if word is not None:
            _keep_word(row, event, word)
        return _renewed(row)

    return fold


for _kind, _counting in _COUNTED.items():
    partner_scorecard.on(_kind)(_folding(_kind, _counting))


def _keep_word(row: PartnerScorecard, event: Event[Any], word: Marking) -> None:
    before = row.evidence.get(trust.TRUST.name)
    was = None if before is None else (before.total, before.weight)
    word(row, event)
    known = row.evidence.get(trust.TRUST.name)
    if known is not None and (known.total, known.weight) != was:
        row.trust = health.assess(_TRUST, row.evidence, event.now).components[trust.TRUST.name]
        row.words, row.last_word = known.count, _latest(row.last_word, event.time)


def _renewed(row: PartnerScorecard) -> PartnerScorecard:
    row.disputes_open = len(row.disputes_unsettled)
    row.disputes_per_100_deliveries = 100 * row.disputes_opened / row.deliveries if row.deliveries else None
    row.on_time_in_full_trend = trend(row.quarters, "on_time_in_full", "deliveries", 1)
    row.defects_trend_ppm = trend(row.quarters, "defective", "inspected", 1e6)
    return row


_TRUST = {trust.TRUST.name: trust.TRUST}


def _counted(row: PartnerScorecard) -> bool:
    """Whether anything but invoices says that this is a partner."""
    return bool(row.deliveries or row.answers or row.disputes_opened or row.levels_measured or row.evidence) or bool(
        row.inspections or row.breaches or row.boundaries
    )


def _deliver(row: PartnerScorecard, came: Lately) -> None:
    known = replaced(row.deliveries_lately, came)
    for one, sign in ((known, -1), (came, 1)):
        if one is not None:
            both = sign * (one.on_time and one.in_full)
            row.deliveries += sign
            row.deliveries_on_time += sign * one.on_time
            row.deliveries_in_full += sign * one.in_full
            row.on_time_in_full += both
            if (quarter := quarter_in(row.quarters, one.quarter)) is not None:
                quarter.deliveries += sign
                quarter.on_time_in_full += both
    row.on_time_in_full_share = row.on_time_in_full / row.deliveries


def _pay(row: PartnerScorecard, event: Event[Any], *, on_time: bool) -> None:
    named = event.data.invoice_id
    before = next((one for one in row.invoices_lately if one.about == named), None)
    row.last_invoice = _latest(row.last_invoice, event.time)
    if before is not None and (on_time or not before.on_time):
        return
    came = Lately(named, before.quarter if before else quarter_of(event.time), on_time)
    for one, sign in ((replaced(row.invoices_lately, came), -1), (came, 1)):
        if one is not None:
            row.invoices += sign
            row.invoices_on_time += sign * one.on_time
            if (quarter := quarter_in(row.quarters, one.quarter)) is not None:
                quarter.invoices += sign
                quarter.invoices_on_time += sign * one.on_time
    row.invoices_on_time_share = row.invoices_on_time / row.invoices


def _latest(known: datetime | None, at: datetime) -> datetime:
    return at if known is None else max(known, at)
