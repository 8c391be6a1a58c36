"""Keep a dispute moving, with a deadline for each stage: what hurts a partnership is less the dispute than the silence.

Opened, acknowledged, proposal, escalated: whoever's turn it is, the manager hears of it when the time has run out.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from engage.events.catalogue.agreements import Party
from engage.events.catalogue.disputes import (
    DisputeAcknowledged,
    DisputeEscalated,
    DisputeOpened,
    DisputeSettled,
    SettlementProposed,
)
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Forget, Rule, RuleSettings, Wake, Woken

OPENED, ACKNOWLEDGED, PROPOSED, ESCALATED, SETTLED = range(5)
_ASKED = (
    ("dispute to acknowledge", "was opened", "has not been acknowledged"),
    ("settlement to propose", "was acknowledged", "no settlement has been proposed"),
    ("dispute to escalate", "got a proposal", "it has been neither accepted nor countered"),
    ("escalated dispute to decide", "was escalated", "it has not been settled"),
)
_OTHER: dict[Party | None, Party | None] = {"us": "them", "them": "us", None: None}
_REMEMBERED = 20
_RUNNING = 100


class Settings(RuleSettings):
    """How long each stage may last; a date that the parties named themselves (``answer_due``) takes its place.

    ``acknowledge``: from the opening; ``propose``: from the acknowledgement; ``answer``: from a proposal, after which
    it is time to escalate; ``decide``: from the escalation. ``expires``: how long the manager can still help.
    """

    acknowledge: timedelta = timedelta(days=3)
    propose: timedelta = timedelta(days=10)
    answer: timedelta = timedelta(days=10)
    decide: timedelta = timedelta(days=21)
    expires: timedelta = timedelta(days=21)


class Dispute(Struct, omit_defaults=True, gc=False):
    """A dispute: its stage, since when, and whose turn it is; ``waits`` until the manager was told or it is settled."""

    stage: int
    since: datetime
    turn: Party | None = None
    waits: bool = True


class State(Struct, omit_defaults=True, gc=False):
    """The account's disputes, by id; of those for which nothing is due, the latest tell late news from new."""

    disputes: dict[str, Dispute] = {}


rule = Rule("dispute-stage-overdue", version=1, settings=Settings(), state=State)


@rule.on(DisputeOpened)
def opened(state: State, event: Event[DisputeOpened], settings: Settings) -> Iterable[Effect]:
    """The other side has to see it."""
    turn = _OTHER[event.data.by]
    return _reach(state, event.data.dispute_id, Dispute(OPENED, event.time, turn), event.time + settings.acknowledge)


@rule.on(DisputeAcknowledged)
def acknowledged(state: State, event: Event[DisputeAcknowledged], settings: Settings) -> Iterable[Effect]:
    """Who took it up is to say how it could end."""
    data = event.data
    deadline = data.answer_due or event.time + settings.propose
    return _reach(state, data.dispute_id, Dispute(ACKNOWLEDGED, event.time, data.by), deadline)


@rule.on(SettlementProposed)
def proposed(state: State, event: Event[SettlementProposed], settings: Settings) -> Iterable[Effect]:
    """The other side has to answer; a counter-proposal turns it round."""
    data = event.data
    deadline = data.answer_due or event.time + settings.answer
    return _reach(state, data.dispute_id, Dispute(PROPOSED, event.time, _OTHER[data.by]), deadline)


@rule.on(DisputeEscalated)
def escalated(state: State, event: Event[DisputeEscalated], settings: Settings) -> Iterable[Effect]:
    """It is for those above both."""
    return _reach(state, event.data.dispute_id, Dispute(ESCALATED, event.time), event.time + settings.decide)


@rule.on(DisputeSettled)
def settled(state: State, event: Event[DisputeSettled], settings: Settings) -> Iterable[Effect]:
    """Nothing is due any more."""
    state.disputes.pop(event.data.dispute_id, None)
    state.disputes[event.data.dispute_id] = Dispute(SETTLED, event.time, waits=False)
    yield Forget(event.data.dispute_id)
    yield from _tidy(state)


@rule.on_wake
def overdue(state: State, wake: Woken, settings: Settings) -> Iterable[Effect]:
    """The stage has lasted too long."""
    dispute = state.disputes[wake.about]
    dispute.waits = False
    what, was, lacks = _ASKED[dispute.stage]
    days = (wake.due - dispute.since).days
    turn = {"us": " It is our turn.", "them": " It is their turn.", None: ""}[dispute.turn]
    yield FollowUpRequest(
        what=what,
        why=f"Dispute {wake.about} {was} on {dispute.since.date()}, and after {days} days {lacks}.{turn}",
        about=wake.about,
        purpose="partnership",
        priority="urgent" if dispute.turn == "us" or dispute.stage == ESCALATED else "high",
        due=timedelta(days=1),
        expires=settings.expires,
        matter=f"{rule.name}|{dispute.stage}|{wake.about}",
    )


def _reach(state: State, dispute_id: str, reached: Dispute, deadline: datetime) -> Iterable[Effect]:
    """A dispute goes forward only: news of an earlier stage, or round of the same one, changes nothing."""
    known = state.disputes.get(dispute_id)
    if known is not None and (known.stage, known.since) >= (reached.stage, reached.since):
        return
    state.disputes[dispute_id] = reached
    yield Wake(deadline, about=dispute_id)
    yield from _tidy(state)


def _tidy(state: State) -> Iterable[Effect]:
    quiet = [known for known, dispute in state.disputes.items() if not dispute.waits]
    waiting = [known for known, dispute in state.disputes.items() if dispute.waits]
    for known in quiet[:-_REMEMBERED] + waiting[:-_RUNNING]:
        del state.disputes[known]
        yield Forget(known)
