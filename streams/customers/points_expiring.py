"""Remind a customer of points before they lapse: points used bring an order, points lost bring anger.

Points are counted by the month in which they lapse, and those that lapse first are spent first, as programmes do.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from engage.events.catalogue.loyalty import PointsEarned, PointsExpiring, PointsRedeemed
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Forget, Rule, RuleSettings, Wake, Woken

_MONTHS_KEPT = 36


class Settings(RuleSettings):
    """The reminder comes ``before`` (days) the first points of a month lapse, if ``least`` points are at stake."""

    before: timedelta = timedelta(days=21)
    least: int = 100


class Lot(Struct, omit_defaults=True, gc=False):
    """Points that lapse in one month: how many were earned, when the first lapse, and whether we reminded.

    ``announced``: how many the programme itself says will lapse; it knows better than our count.
    """

    first: datetime
    points: int = 0
    announced: int | None = None
    reminded: bool = False


class State(Struct, omit_defaults=True, gc=False):
    """The lots by month (``2026-05``), points that never lapse, and how many of all these were spent."""

    lots: dict[str, Lot] = {}
    lasting: int = 0
    spent: int = 0


rule = Rule("points-expiring", version=1, settings=Settings(), state=State)


@rule.on(PointsEarned)
def earned(state: State, event: Event[PointsEarned], settings: Settings) -> Iterable[Effect]:
    """More points, which may lapse one day."""
    expires = event.data.expires
    if expires is None:
        state.lasting += event.data.points
        return ()
    lot = _lot(state, expires)
    lot.points += event.data.points
    return _remind(state, lot, event.time, settings)


@rule.on(PointsExpiring)
def announced(state: State, event: Event[PointsExpiring], settings: Settings) -> Iterable[Effect]:
    """The programme says what will lapse."""
    lot = _lot(state, event.data.expires)
    lot.announced = event.data.points
    return _remind(state, lot, event.time, settings)


@rule.on(PointsRedeemed)
def redeemed(state: State, event: Event[PointsRedeemed], settings: Settings) -> None:
    """They spent some; what they had before we began to count is no debt of theirs."""
    state.spent = min(state.spent + event.data.points, state.lasting + sum(lot.points for lot in state.lots.values()))
    left = event.data.points
    for month in sorted(state.lots):
        lot = state.lots[month]
        if lot.announced:
            taken = min(left, lot.announced)
            lot.announced, left = lot.announced - taken, left - taken


@rule.on_wake
def lapse_soon(state: State, wake: Woken, settings: Settings) -> Iterable[Effect]:
    """The month's first points lapse before long."""
    lot = state.lots[wake.about]
    at_stake = _at_stake(state, wake.about)
    if at_stake < settings.least:
        return
    lot.reminded = True
    yield FollowUpRequest(
        what="points reminder",
        why=f"{at_stake} points lapse in {wake.about}, the first of them on {lot.first.date()}.",
        about=wake.about,
        purpose="service",
        channels=("email",),
        due=timedelta(days=2),
        expires=settings.before,
    )


def _lot(state: State, expires: datetime) -> Lot:
    month = f"{expires.astimezone(UTC):%Y-%m}"
    lot = state.lots.get(month)
    if lot is None:
        lot = state.lots[month] = Lot(expires)
    lot.first = min(lot.first, expires)
    return lot


def _remind(state: State, lot: Lot, now: datetime, settings: Settings) -> Iterable[Effect]:
    """Wake before the lot lapses; lots that lapsed before this month, and what was spent of them, are forgotten."""
    month = f"{lot.first.astimezone(UTC):%Y-%m}"
    if lot.first > now and not lot.reminded:
        yield Wake(lot.first - settings.before, about=month)
    this_month = f"{now.astimezone(UTC):%Y-%m}"
    for known in sorted(state.lots):
        if known < this_month or len(state.lots) > _MONTHS_KEPT:
            state.spent = max(state.spent - state.lots.pop(known).points, 0)
            yield Forget(known)


def _at_stake(state: State, month: str) -> int:
    """What is left of the month's points once those that lapse earlier were spent first."""
    lot = state.lots[month]
    if lot.announced is not None:
        return lot.announced
    spent = max(state.spent - sum(other.points for known, other in state.lots.items() if known < month), 0)
    return max(lot.points - spent, 0)
