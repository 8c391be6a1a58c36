"""Which disputes do we have with partners, how far is each, how long did its stages take, and whose turn is overdue?"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec import Struct

from engage.events.catalogue.agreements import Party
from engage.events.catalogue.disputes import (
    DisputeAcknowledged,
    DisputeEscalated,
    DisputeOpened,
    DisputeSettled,
    EvidenceSubmitted,
    SettlementProposed,
)
from engage.events.envelope import EPOCH, Event
from engage.views.projection import Projection

Stage = Literal["opened", "acknowledged", "proposed", "escalated", "settled"]
ALLOWED: dict[Stage, timedelta] = {
    "opened": timedelta(days=3),
    "acknowledged": timedelta(days=10),
    "proposed": timedelta(days=10),
    "escalated": timedelta(days=21),
}
"""How long a stage may last; a date that the parties named takes its place.

``streams/partners/dispute_stage_overdue.py`` reminds the manager by the same days unless it is set otherwise."""
_ORDER: dict[Stage, int] = {"opened": 0, "acknowledged": 1, "proposed": 2, "escalated": 3, "settled": 4}
_OTHER: dict[Party | None, Party | None] = {"us": "them", "them": "us", None: None}


class DisputeRow(Struct):
    """One dispute with an account, from its opening to its settlement.

    dispute: the account's id and the dispute's, with a bar between
    account: the account's id
    dispute_id: the dispute's id in the upstream system
    stage: opened, acknowledged, proposed, escalated or settled
    topic: what it is about, a short code; null until its opening is known
    opened_by: us or them; null when nobody said who
    agreement_id: the agreement that it is about
    invoice_id: the invoice that it is about
    delivery_id: the delivery that it is about
    amount: what is at stake, in major units of its currency; null when nobody said
    currency: the currency of amount
    proposed_amount: what we would get back by the last proposal, negative what we would give, in proposed_currency
    proposed_currency: the currency of proposed_amount
    settled_amount: what we got back, negative what we gave, in settled_currency
    settled_currency: the currency of settled_amount
    outcome: how it ended, a short code; null while it has not
    level: where it was escalated to
    opened_at: when it was opened; null until that is known
    acknowledged_at: when the other side took it up first
    proposed_at: when a settlement was proposed first
    escalated_at: when it was escalated first
    settled_at: when it was settled
    proposals: number of proposals
    evidence: number of times that a side showed evidence
    hours_to_acknowledge: from the opening to the first acknowledgement, hours
    hours_to_propose: from the acknowledgement, or the opening where nobody acknowledged, to the first proposal, hours
    hours_to_settle: from the opening to the settlement, hours
    turn: whose turn it is, us or them; null when it is settled, nobody said, or it is for those above both
    deadline: until when this stage may last; null when it is settled
    overdue: whether the deadline has passed
    stage_since: when this stage, or this round of it, began
    """

    dispute: str
    account: str = ""
    dispute_id: str = ""
    stage: Stage = "opened"
    topic: str | None = None
    opened_by: Party | None = None
    agreement_id: str | None = None
    invoice_id: str | None = None
    delivery_id: str | None = None
    amount: float | None = None
    currency: str | None = None
    proposed_amount: float | None = None
    proposed_currency: str | None = None
    settled_amount: float | None = None
    settled_currency: str | None = None
    outcome: str | None = None
    level: str | None = None
    opened_at: datetime | None = None
    acknowledged_at: datetime | None = None
    proposed_at: datetime | None = None
    escalated_at: datetime | None = None
    settled_at: datetime | None = None
    proposals: int = 0
    evidence: int = 0
    hours_to_acknowledge: float | None = None
    hours_to_propose: float | None = None
    hours_to_settle: float | None = None
    turn: Party | None = None
    deadline: datetime | None = None
    overdue: bool = False
    stage_since: datetime = EPOCH


def _dispute(event: Event[Any]) -> str:
    return f"{event.subject}|{event.data.dispute_id}"


disputes = Projection(
    "disputes", version=1, row=DisputeRow, key=_dispute, indexes=("account", ("stage", "deadline"), "overdue")
)


@disputes.on(DisputeOpened)
def opened(row: DisputeRow, event: Event[DisputeOpened]) -> DisputeRow:
    """One side does not accept something; the other has to see it."""
    data = _named(row, event)
    row.topic, row.opened_by = data.topic, data.by
    row.agreement_id, row.invoice_id, row.delivery_id = data.agreement_id, data.invoice_id, data.delivery_id
    row.amount, row.currency = data.amount, None if data.amount is None else data.currency
    row.opened_at = _first(row.opened_at, event.time)
    return _reach(row, event, "opened", _OTHER[data.by], None)


@disputes.on(DisputeAcknowledged)
def acknowledged(row: DisputeRow, event: Event[DisputeAcknowledged]) -> DisputeRow:
    """Who took it up is to say how it could end."""
    data = _named(row, event)
    row.acknowledged_at = _first(row.acknowledged_at, event.time)
    return _reach(row, event, "acknowledged", data.by, data.answer_due)


@disputes.on(EvidenceSubmitted)
def shown(row: DisputeRow, event: Event[EvidenceSubmitted]) -> DisputeRow:
    """A side supports its view; the stage stays."""
    _named(row, event)
    row.evidence += 1
    return row


@disputes.on(SettlementProposed)
def proposed(row: DisputeRow, event: Event[SettlementProposed]) -> DisputeRow:
    """The other side has to answer; a counter-proposal turns it round."""
    data = _named(row, event)
    row.proposals += 1
    row.proposed_at = _first(row.proposed_at, event.time)
    if row.stage != "proposed" or event.time >= row.stage_since:
        row.proposed_amount, row.proposed_currency = data.amount, None if data.amount is None else data.currency
    return _reach(row, event, "proposed", _OTHER[data.by], data.answer_due)


@disputes.on(DisputeEscalated)
def escalated(row: DisputeRow, event: Event[DisputeEscalated]) -> DisputeRow:
    """It is for those above both."""
    data = _named(row, event)
    row.level = data.level or row.level
    row.escalated_at = _first(row.escalated_at, event.time)
    return _reach(row, event, "escalated", None, None)


@disputes.on(DisputeSettled)
def settled(row: DisputeRow, event: Event[DisputeSettled]) -> DisputeRow:
    """It is over."""
    data = _named(row, event)
    if row.settled_at is None or event.time >= row.settled_at:
        row.outcome, row.settled_amount = data.outcome, data.amount
        row.settled_currency = None if data.amount is None else data.currency
    row.settled_at = _first(row.settled_at, event.time)
    return _reach(row, event, "settled", None, None)


@disputes.on_wake(lambda row: None if row.overdue else row.deadline)
def ran_out(row: DisputeRow, moment: datetime) -> DisputeRow:
    """The stage has lasted as long as it may."""
    row.overdue = True
    return row


def _named(row: DisputeRow, event: Event[Any]) -> Any:
    row.account, row.dispute_id = event.subject, event.data.dispute_id
    return event.data


def _reach(
    row: DisputeRow, event: Event[Any], stage: Stage, turn: Party | None, answer_due: datetime | None
) -> DisputeRow:
    """A dispute goes forward only: news of an earlier stage, or round of the same one, moves nothing but the times."""
    if (_ORDER[row.stage], row.stage_since) <= (_ORDER[stage], event.time):
        row.stage, row.stage_since, row.turn = stage, event.time, turn
        row.deadline = None if stage == "settled" else answer_due or event.time + ALLOWED[stage]
        row.overdue = row.deadline is not None and row.deadline <= event.now
    row.hours_to_acknowledge = _hours(row.opened_at, row.acknowledged_at)
    row.hours_to_propose = _hours(row.acknowledged_at or row.opened_at, row.proposed_at)
    row.hours_to_settle = _hours(row.opened_at, row.settled_at)
    return row


def _first(known: datetime | None, time: datetime) -> datetime:
    return time if known is None else min(known, time)


def _hours(since: datetime | None, until: datetime | None) -> float | None:
    """None while one end is unknown, or where they come in an order that cannot be."""
    if since is None or until is None or until < since:
        return None
    return (until - since) / timedelta(hours=1)
