"""Tell the manager when a valued customer slips, while a word still helps: most revenue comes from few accounts.

How well it goes with them is what they spent, fading with time (``engage.views.decay``), against their own best: it
falls by itself, so a wake waits at the moment it would cross the line without any event.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from math import ceil, log2

import msgspec
from msgspec import Struct

from engage.events.catalogue.commerce import OrderCompleted, OrderRefunded
from engage.events.envelope import EPOCH, Event
from engage.rules.rule import Effect, FollowUpRequest, Forget, Rule, RuleSettings, Wake, Woken
from engage.views.decay import Decayed, half_life

_HOUR = 3_600


class Settings(RuleSettings):
    """Valued is who spent ``value`` or more (major units of their currency, refunds taken off).

    What they spent counts half after each ``half_life`` (days); they slip when that falls to ``drop`` (0-1) of its
    best. ``expires``: how long (days) the manager can help.
    """

    value: float = 250.0
    half_life: timedelta = timedelta(days=90)
    drop: float = 0.25
    expires: timedelta = timedelta(days=30)


class Spend(Struct, omit_defaults=True, gc=False):
    """What they spent in one currency: fading, in all, the best the fading sum was; whether the manager was told.

    Once told, they are measured against what they rise to from there.
    """

    fading: Decayed = msgspec.field(default_factory=Decayed)
    total: float = 0.0
    best: float = 0.0
    told: bool = False


class State(Struct, omit_defaults=True, gc=False):
    """Their spending by currency."""

    spends: dict[str, Spend] = {}


rule = Rule("valued-customer-slipping", version=1, settings=Settings(), state=State)


@rule.on(OrderCompleted)
def bought(state: State, event: Event[OrderCompleted], settings: Settings) -> Iterable[Effect]:
    """They are with us."""
    currency = event.data.currency
    spend = _spend(state, currency)
    if spend.told and _seconds(event.time) > spend.fading.as_of:
        spend.told = False
    _count(spend, event.data.total, event.time, settings)
    level, best = spend.fading.total, spend.best
    if level > best or level <= settings.drop * best:
        spend.best = level  # a new height; or they fell before they were valued, and begin anew
    return _watch(spend, currency, settings)


@rule.on(OrderRefunded)
def refunded(state: State, event: Event[OrderRefunded], settings: Settings) -> Iterable[Effect]:
    """That money was none of ours."""
    spend = _spend(state, event.data.currency)
    _count(spend, -event.data.total, event.time, settings)
    return _watch(spend, event.data.currency, settings)


@rule.on_wake
def slipped(state: State, wake: Woken, settings: Settings) -> Iterable[Effect]:
    """They have come down to the line, and nothing held them."""
    spend = state.spends[wake.about]
    last = EPOCH + timedelta(seconds=spend.fading.as_of)
    _count(spend, 0.0, wake.due, settings)  # from here on they are measured by what they rise to
    share = spend.fading.total / spend.best
    spend.told, spend.best = True, spend.fading.total
    yield FollowUpRequest(
        what="valued customer slipping",
        why=f"They spent {spend.total:.2f} {wake.about} with us, and what counts of it today is down to {share:.0%} of "
        f"its best: nothing since {last.date()}.",
        about=wake.about,
        purpose="service",
        priority="high",
        due=timedelta(days=2),
        expires=settings.expires,
    )


def _spend(state: State, currency: str) -> Spend:
    spend = state.spends.get(currency)
    if spend is None:
        spend = state.spends[currency] = Spend()
    return spend


def _count(spend: Spend, amount: float, at: datetime, settings: Settings) -> None:
    spend.fading.add(amount, _seconds(at), half_life(settings.half_life))
    spend.total += amount


def _watch(spend: Spend, currency: str, settings: Settings) -> Iterable[Effect]:
    """Wake at the moment the fading sum meets the line: ``best · drop = sum · 2^(−t/h)``, the hour that begins then."""
    level, line = spend.fading.total, settings.drop * spend.best
    if spend.told or spend.total < settings.value or level <= 0 or line <= 0:
        return (Forget(currency),)
    meets = spend.fading.as_of + half_life(settings.half_life) * max(log2(level / line), 0.0)
    return (Wake(EPOCH + timedelta(seconds=ceil(meets / _HOUR) * _HOUR), about=currency),)


def _seconds(moment: datetime) -> float:
    return (moment - EPOCH).total_seconds()
