"""Ask a customer who has just said how happy they are whether they would bring somebody along: nobody sells better."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from engage.events.catalogue.commerce import OrderCompleted
from engage.events.catalogue.loyalty import ReferralMade
from engage.events.catalogue.surveys import SurveyAnswered
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Forget, Rule, RuleSettings, Wake, Woken

REFERRAL = "referral"


class Settings(RuleSettings):
    """A promoter gives ``nps`` (0-10) or ``csat`` (1-5) or more and has ordered; we ask ``after`` (days) they said so.

    Not if they say something else meanwhile, and not within ``rest`` (days) of the last ask or of a referral of theirs.
    ``expires``: how long (days) the ask makes sense.
    """

    nps: int = 9
    csat: int = 5
    after: timedelta = timedelta(days=1)
    rest: timedelta = timedelta(days=180)
    expires: timedelta = timedelta(days=14)


class State(Struct, omit_defaults=True, gc=False):
    """Whether they ever ordered, when we last asked or they referred, and their last word: when, and whether happy."""

    ordered: bool = False
    asked: datetime | None = None
    said: datetime | None = None
    happy: bool = False


rule = Rule("referral-ask", version=1, settings=Settings(), state=State)


@rule.on(OrderCompleted)
def ordered(state: State, event: Event[OrderCompleted], settings: Settings) -> None:
    """They are a customer."""
    state.ordered = True


@rule.on(ReferralMade)
def referred(state: State, event: Event[ReferralMade], settings: Settings) -> None:
    """They did so unasked."""
    state.asked = max(state.asked or event.time, event.time)


@rule.on(SurveyAnswered)
def answered(state: State, event: Event[SurveyAnswered], settings: Settings) -> Iterable[Effect]:
    """Their newest word counts."""
    if state.said is not None and event.time < state.said:
        return ()
    data = event.data
    state.said = event.time
    state.happy = data.score >= (settings.nps if data.kind == "nps" else settings.csat)
    return (Wake(event.time + settings.after, about=REFERRAL) if state.happy else Forget(REFERRAL),)


@rule.on_wake
def ask(state: State, wake: Woken, settings: Settings) -> Iterable[Effect]:
    """They are happy, and slept on it."""
    if not state.ordered or (state.asked is not None and wake.due < state.asked + settings.rest):
        return
    assert state.said is not None, "only their word arms the wake"
    state.asked = wake.due
    yield FollowUpRequest(
        what="referral ask",
        why=f"They gave us one of the best marks on {state.said.date()} and have bought from us.",
        about=REFERRAL,
        purpose="marketing",
        channels=("email",),
        priority="low",
        due=timedelta(days=3),
        expires=settings.expires,
    )
