"""Win back a customer who has stopped buying, measured against their own rhythm, while they still remember us.

Forty days of silence are nothing for somebody who buys twice a year and a farewell for somebody who came every week.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from engage.events.catalogue.commerce import OrderCompleted
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Rule, RuleSettings, Wake, Woken

LAPSE = "lapse"
_DAYS_KEPT = 12
_DUE = timedelta(days=3)


class Settings(RuleSettings):
    """Lapsed is who has bought on ``orders`` days or more and then not for ``rhythm`` times the mean gap between them.

    ``at_least`` and ``at_most`` bound that silence. ``expires``: how long the invitation makes sense.
    """

    orders: int = 2
    rhythm: float = 3.0
    at_least: timedelta = timedelta(days=60)
    at_most: timedelta = timedelta(days=365)
    expires: timedelta = timedelta(days=30)


class State(Struct, omit_defaults=True, gc=False):
    """The latest purchase days (ordinals, UTC, in order), the last purchase, and the one after which we asked."""

    days: list[int] = []
    last: datetime | None = None
    asked_after: datetime | None = None


rule = Rule("win-back", version=1, settings=Settings(), state=State)


@rule.on(OrderCompleted)
def bought(state: State, event: Event[OrderCompleted], settings: Settings) -> Iterable[Effect]:
    """They are back, or still here: the silence begins anew."""
    days, last = state.days, event.time
    day = last.astimezone(UTC).toordinal()
    if day not in days:
        insort(days, day)
        del days[:-_DAYS_KEPT]
    if state.last is not None and state.last > last:
        last = state.last
    state.last = last
    if len(days) < max(settings.orders, 2) or last == state.asked_after:
        return ()
    return (Wake(last + _patience(state, settings), about=LAPSE),)


@rule.on_wake
def lapsed(state: State, wake: Woken, settings: Settings) -> Iterable[Effect]:
    """Silent for longer than their rhythm explains."""
    assert state.last is not None, "only a purchase arms the wake"
    state.asked_after = state.last
    silent = (wake.due - state.last).days
    yield FollowUpRequest(
        what="win back",
        why=f"They bought about every {_gap(state):.0f} days and have not bought for {silent} days, "
        f"since {state.last.date()}.",
        about=LAPSE,
        purpose="marketing",
        channels=("email",),
        due=_DUE,
        expires=settings.expires,
    )


def _gap(state: State) -> float:
    """Mean days between purchase days."""
    return (state.days[-1] - state.days[0]) / (len(state.days) - 1)


def _patience(state: State, settings: Settings) -> timedelta:
    return min(max(settings.rhythm * timedelta(_gap(state)), settings.at_least), settings.at_most)
