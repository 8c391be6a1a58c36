"""Ask for the decision on a deal that a partner registered: who waits for our word takes the next deal elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from engage.events.catalogue.deals import DealApproved, DealLost, DealRegistered, DealRejected, DealWon
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Forget, Rule, RuleSettings, Wake, Woken

_REMEMBERED = 50
_PENDING = 200


class Settings(RuleSettings):
    """A deal is to be decided ``within`` this, or ``margin`` before it ``closes`` at the customer's if that is earlier.

    ``expires``: how long our word can still be of use to the partner.
    """

    within: timedelta = timedelta(days=5)
    margin: timedelta = timedelta(days=2)
    expires: timedelta = timedelta(days=30)


class Deal(Struct, frozen=True, gc=False):
    """A deal that waits for our word: since when, and what it may bring."""

    registered: datetime
    value: float
    currency: str


class State(Struct, omit_defaults=True, gc=False):
    """The deals that wait, by id, and the latest that do no more or that the manager was told of."""

    pending: dict[str, Deal] = {}
    done: list[str] = []


rule = Rule("deal-decision-due", version=1, settings=Settings(), state=State)


@rule.on(DealRegistered)
def registered(state: State, event: Event[DealRegistered], settings: Settings) -> Iterable[Effect]:
    """The partner waits for us."""
    data = event.data
    if data.deal_id in state.done or data.deal_id in state.pending:
        return
    state.pending[data.deal_id] = Deal(event.time, data.value, data.currency)
    latest = event.time + settings.within
    if data.closes is not None:
        latest = max(event.time, min(latest, data.closes - settings.margin))
    yield Wake(latest, about=data.deal_id)
    for oldest in list(state.pending)[:-_PENDING]:
        del state.pending[oldest]
        yield Forget(oldest)


@rule.on(DealApproved, DealRejected, DealWon, DealLost)
def decided(
    state: State, event: Event[DealApproved | DealRejected | DealWon | DealLost], settings: Settings
) -> Iterable[Effect]:
    """We said yes or no, or the customer did."""
    _done(state, event.data.deal_id)
    yield Forget(event.data.deal_id)


@rule.on_wake
def decision_due(state: State, wake: Woken, settings: Settings) -> Iterable[Effect]:
    """They have waited long enough."""
    deal = state.pending[wake.about]
    _done(state, wake.about)
    yield FollowUpRequest(
        what="decide on a registered deal",
        why=f"They registered deal {wake.about} over {deal.value:,.2f} {deal.currency} on {deal.registered.date()} "
        f"and have waited for our word for {(wake.due - deal.registered).days} days.",
        about=wake.about,
        purpose="partnership",
        priority="high",
        due=timedelta(days=1),
        expires=settings.expires,
    )


def _done(state: State, deal_id: str) -> None:
    state.pending.pop(deal_id, None)
    if deal_id not in state.done:
        state.done = [*state.done, deal_id][-_REMEMBERED:]
