"""Tell the manager when a partner has gone quiet, measured against their own rhythm: partners leave without a word.

What the partner does, and what we do together, is an interaction. What we send into the silence is none.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct

from engage.events.catalogue.agreements import AgreementRenewed, AgreementSigned
from engage.events.catalogue.conversations import CallHeld, EmailReceived, MeetingHeld
from engage.events.catalogue.deals import DealRegistered
from engage.events.catalogue.deliveries import DeliveryPostponed, DeliveryPromised, DeliveryReceived
from engage.events.catalogue.invoices import InvoicePaid
from engage.events.catalogue.negotiations import OfferMade
from engage.events.catalogue.profile import AccountIdentified
from engage.events.catalogue.service_levels import RequestAnswered
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Forget, Rule, RuleSettings, Wake, Woken

SILENCE = "silence"
_DAYS_KEPT = 12


class Settings(RuleSettings):
    """Quiet is who was heard of on ``days`` days or more, and then not for ``rhythm`` times the mean gap between them.

    ``at_least`` and ``at_most`` bound that silence. ``expires``: how long a call makes sense.
    """

    days: int = 4
    rhythm: float = 3.0
    at_least: timedelta = timedelta(days=21)
    at_most: timedelta = timedelta(days=120)
    expires: timedelta = timedelta(days=30)


class State(Struct, omit_defaults=True, gc=False):
    """Whether it is a partner, ``said`` when, and the latest days (ordinals, UTC, in order) and moment we heard of it.

    ``told_after`` is the interaction after which the manager was told.
    """

    partner: bool = False
    said: datetime | None = None
    days: list[int] = []
    last: datetime | None = None
    told_after: datetime | None = None


rule = Rule("partner-gone-quiet", version=1, settings=Settings(), state=State)


@rule.on(AccountIdentified)
def identified(state: State, event: Event[AccountIdentified], settings: Settings) -> Iterable[Effect]:
    """Customers talk with us too, but nobody expects it of them."""
    if event.data.kind is not None:
        _say(state, event.data.kind != "customer", event.time)
        yield from _wait(state, settings) if state.partner else [Forget(SILENCE)]


@rule.on(DeliveryPromised, DeliveryPostponed, DeliveryReceived, RequestAnswered)
@rule.on(AgreementSigned, AgreementRenewed, DealRegistered)
def worked(state: State, event: Event[Any], settings: Settings) -> Iterable[Effect]:
    """What only a partner does."""
    _say(state, True, event.time)
    return _heard(state, event.time, settings)


@rule.on(EmailReceived, CallHeld, MeetingHeld)
def talked(state: State, event: Event[EmailReceived | CallHeld | MeetingHeld], settings: Settings) -> Iterable[Effect]:
    """They wrote to us, or we spoke."""
    return _heard(state, event.time, settings)


@rule.on(InvoicePaid)
def paid(state: State, event: Event[InvoicePaid], settings: Settings) -> Iterable[Effect]:
    """Their payment is a sign of life, ours is not."""
    return _heard(state, event.time, settings) if event.data.direction == "receivable" else ()


@rule.on(OfferMade)
def offered(state: State, event: Event[OfferMade], settings: Settings) -> Iterable[Effect]:
    """So is an offer of theirs."""
    return _heard(state, event.time, settings) if event.data.party == "them" else ()


@rule.on_wake
def quiet(state: State, wake: Woken, settings: Settings) -> Iterable[Effect]:
    """Silent for longer than their rhythm explains."""
    assert state.last is not None, "only an interaction arms the wake"
    state.told_after = state.last
    yield FollowUpRequest(
        what="call a quiet partner",
        why=f"We heard of them about every {_gap(state):.0f} days, and have not for {(wake.due - state.last).days}, "
        f"since {state.last.date()}.",
        about=SILENCE,
        purpose="partnership",
        due=timedelta(days=3),
        expires=settings.expires,
    )


def _say(state: State, partner: bool, at: datetime) -> None:
    """The newest word counts, and of two of the same moment the one that makes it a partner.

    Of a customer nothing is kept: there are many of them.
    """
    if partner if state.said is None else (at, partner) >= (state.said, state.partner):
        state.partner, state.said = partner, at


def _heard(state: State, at: datetime, settings: Settings) -> Iterable[Effect]:
    """The silence begins anew; news of an earlier day only tells of the rhythm."""
    day = at.astimezone(UTC).toordinal()
    if day not in state.days:
        insort(state.days, day)
        del state.days[:-_DAYS_KEPT]
    state.last = max(state.last or at, at)
    yield from _wait(state, settings)


def _wait(state: State, settings: Settings) -> Iterable[Effect]:
    if state.last is None or not state.partner:
        return
    if len(state.days) >= max(settings.days, 2) and state.last != state.told_after:
        patience = min(max(settings.rhythm * timedelta(days=_gap(state)), settings.at_least), settings.at_most)
        yield Wake(state.last + patience, about=SILENCE)


def _gap(state: State) -> float:
    """Mean days between the days on which we heard of them."""
    return (state.days[-1] - state.days[0]) / (len(state.days) - 1)
