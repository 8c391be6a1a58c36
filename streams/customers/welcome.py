"""Welcome a new customer at once, and show them a tutorial if they have not found one: the first days decide who stays.

A customer is new with their sign-up or their first order, whichever we hear of first.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from msgspec import Struct

from engage.events.catalogue.commerce import OrderCompleted
from engage.events.catalogue.tutorials import TutorialCompleted, TutorialStarted, TutorialStepCompleted
from engage.events.catalogue.web import SignedUp
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Forget, Rule, RuleSettings, Wake, Woken

WELCOME = "welcome"
TUTORIAL = "tutorial"
_WELCOME_DUE, _OFFER_DUE = timedelta(hours=4), timedelta(days=3)


class Settings(RuleSettings):
    """``welcome_expires``: how long (days) a welcome is one.

    A tutorial is offered ``offer_after`` (days) they came, and it can be for ``offer_expires`` (days) from there.
    """

    welcome_expires: timedelta = timedelta(days=7)
    offer_after: timedelta = timedelta(days=5)
    offer_expires: timedelta = timedelta(days=21)


class State(Struct, omit_defaults=True, gc=False):
    """Whether they were welcomed, and whether they have found a tutorial or were shown the way to one."""

    welcomed: bool = False
    guided: bool = False


rule = Rule("welcome", version=1, settings=Settings(), state=State)


@rule.on(SignedUp, OrderCompleted)
def came(state: State, event: Event[SignedUp | OrderCompleted], settings: Settings) -> Iterable[Effect]:
    """Here they are; every later order finds them welcomed."""
    if state.welcomed:
        return ()
    state.welcomed = True
    data = event.data
    how = f"placed their first order, {data.order_id}," if isinstance(data, OrderCompleted) else "signed up"
    welcome = FollowUpRequest(
        what="welcome",
        why=f"They {how} on {event.time.date()}.",
        about=WELCOME,
        purpose="service",
        channels=("email",),
        due=_WELCOME_DUE,
        expires=settings.welcome_expires,
    )
    return (welcome,) if state.guided else (welcome, Wake(event.time + settings.offer_after, about=TUTORIAL))


@rule.on(TutorialStarted, TutorialStepCompleted, TutorialCompleted)
def learns(
    state: State, event: Event[TutorialStarted | TutorialStepCompleted | TutorialCompleted], settings: Settings
) -> Iterable[Effect]:
    """They found a tutorial by themselves."""
    state.guided = True
    return (Forget(TUTORIAL),)


@rule.on_wake
def offer(state: State, wake: Woken, settings: Settings) -> Iterable[Effect]:
    """They have been here for some days and know of no tutorial."""
    state.guided = True
    yield FollowUpRequest(
        what="tutorial offer",
        why=f"They came {settings.offer_after.days} days ago and have not started a tutorial.",
        about=TUTORIAL,
        purpose="marketing",
        channels=("email",),
        priority="low",
        due=_OFFER_DUE,
        expires=settings.offer_expires,
    )
