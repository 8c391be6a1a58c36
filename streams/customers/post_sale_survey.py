"""Ask how it went a few days after the goods arrived, once per order, unless they told us already.

By then they have used what they bought and still remember how it came; nobody is asked again before a long rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from engage.events.catalogue.commerce import OrderDelivered
from engage.events.catalogue.surveys import ReviewPosted, SurveyAnswered, SurveyDeclined, SurveySent
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Forget, Rule, RuleSettings, Wake, Woken

_REMEMBERED = 20
_DUE = timedelta(days=2)


class Settings(RuleSettings):
    """``after`` the delivery we ask, not within ``rest`` of the last ask, and not once ``expires`` has passed."""

    after: timedelta = timedelta(days=3)
    rest: timedelta = timedelta(days=90)
    expires: timedelta = timedelta(days=14)


class State(Struct, omit_defaults=True, gc=False):
    """When the account was last asked, and the latest orders that need no survey (any more)."""

    asked: datetime | None = None
    done: list[str] = []


rule = Rule("post-sale-survey", version=1, settings=Settings(), state=State)


@rule.on(OrderDelivered)
def delivered(state: State, event: Event[OrderDelivered], settings: Settings) -> Iterable[Effect]:
    """The goods are there: ask in a few days."""
    if event.data.order_id not in state.done:
        yield Wake(event.time + settings.after, about=event.data.order_id)


@rule.on(SurveyAnswered, SurveyDeclined, ReviewPosted)
def told(
    state: State, event: Event[SurveyAnswered | SurveyDeclined | ReviewPosted], settings: Settings
) -> Iterable[Effect]:
    """They told us, or do not want to: no need to ask about this order."""
    if event.data.order_id is not None:
        _finish(state, event.data.order_id)
        yield Forget(event.data.order_id)


@rule.on(SurveySent)
def sent(state: State, event: Event[SurveySent], settings: Settings) -> None:
    """Somebody else asked them: that counts for the rest as well."""
    state.asked = max(state.asked or event.time, event.time)


@rule.on_wake
def ask(state: State, wake: Woken, settings: Settings) -> Iterable[Effect]:
    """A few days have passed and they said nothing."""
    _finish(state, wake.about)
    if state.asked is not None and wake.due < state.asked + settings.rest:
        return
    state.asked = wake.due
    yield FollowUpRequest(
        what="post-sale survey",
        why=f"Order {wake.about} was delivered {settings.after.days} days ago and they have not said how it went.",
        about=wake.about,
        purpose="research",
        channels=("email",),
        priority="low",
        due=_DUE,
        expires=settings.expires,
    )


def _finish(state: State, order_id: str) -> None:
    if order_id not in state.done:
        state.done = [*state.done, order_id][-_REMEMBERED:]
