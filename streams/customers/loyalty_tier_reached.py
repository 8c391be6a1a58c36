"""Congratulate a customer on the tier they have just reached: a reward that nobody mentions binds nobody."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from engage.events.catalogue.loyalty import TierLost, TierReached
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Rule, RuleSettings

_REMEMBERED = 8
_LONGEST = 120


class Settings(RuleSettings):
    """A tier lost and reached again within ``rest`` (days) is no news; ``expires``: how long (days) it is."""

    rest: timedelta = timedelta(days=300)
    expires: timedelta = timedelta(days=10)


class State(Struct, omit_defaults=True, gc=False):
    """When we congratulated on each of the latest tiers, and when their tier last changed."""

    congratulated: dict[str, datetime] = {}
    changed: datetime | None = None


rule = Rule("loyalty-tier-reached", version=1, settings=Settings(), state=State)


@rule.on(TierReached)
def reached(state: State, event: Event[TierReached], settings: Settings) -> Iterable[Effect]:
    """They rose; what we hear of late, after they rose further or fell, is no reason to write."""
    tier = event.data.tier[:_LONGEST]
    if state.changed is not None and event.time < state.changed:
        return
    state.changed = event.time
    before = state.congratulated.get(tier)
    if before is not None and event.time < before + settings.rest:
        return
    state.congratulated.pop(tier, None)
    state.congratulated[tier] = event.time
    for known in list(state.congratulated)[:-_REMEMBERED]:
        del state.congratulated[known]
    until = f", and keep it until {event.data.until.date()} at least" if event.data.until else ""
    yield FollowUpRequest(
        what="tier congratulation",
        why=f"They reached the tier {tier} on {event.time.date()}{until}.",
        about=tier,
        purpose="service",
        channels=("email",),
        priority="low",
        due=timedelta(days=1),
        expires=settings.expires,
    )


@rule.on(TierLost)
def lost(state: State, event: Event[TierLost], settings: Settings) -> None:
    """They fell: a rise from before that we have yet to hear of is over."""
    state.changed = max(state.changed or event.time, event.time)
