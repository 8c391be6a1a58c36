"""Remind a customer of what they buy again and again shortly before they run out of it, by their own rhythm."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal

from msgspec import Struct

from engage.events.catalogue.commerce import OrderCompleted, Product
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Forget, Rule, RuleSettings, Wake, Woken

_GOODS_KEPT = 12
_DAYS_KEPT = 6
_LONGEST = 120
_DAY = timedelta(days=1)


class Settings(RuleSettings):
    """What is bought on ``times`` days or more has a rhythm: the mean gap (days) between them, each of which may differ
    from it by ``spread`` (0-1, a share of the mean). Rhythms outside ``at_least`` - ``at_most`` (days) are none.

    The reminder comes ``ahead`` (0-1, a share of the rhythm) before the next is due and makes sense for ``expires``
    (days). ``by``: one product is bought again and again, or any of a category (a product without one counts alone).
    """

    times: int = 3
    spread: float = 0.5
    at_least: timedelta = timedelta(days=7)
    at_most: timedelta = timedelta(days=180)
    ahead: float = 0.1
    expires: timedelta = timedelta(days=14)
    by: Literal["product", "category"] = "product"


class Good(Struct, omit_defaults=True, gc=False):
    """The latest days (ordinals, UTC, in order) it was bought on, the last time, and whether we reminded since."""

    last: datetime
    days: list[int] = []
    reminded: bool = False


class State(Struct, omit_defaults=True, gc=False):
    """What they bought lately, by product or category."""

    goods: dict[str, Good] = {}


rule = Rule("replenishment", version=1, settings=Settings(), state=State)


@rule.on(OrderCompleted)
def bought(state: State, event: Event[OrderCompleted], settings: Settings) -> Iterable[Effect]:
    """They have a supply again."""
    effects: list[Effect] = []
    goods, at = state.goods, event.time
    day = at.astimezone(UTC).toordinal()
    for name in {_name(product, settings): None for product in event.data.products}:
        good = goods.pop(name, None) or Good(at)
        goods[name] = good
        if at > good.last:
            good.last, good.reminded = at, False
        days = good.days
        if day not in days:
            insort(days, day)
            del days[: -max(_DAYS_KEPT, settings.times)]
        if len(days) < settings.times:
            continue
        rhythm = _rhythm(good, settings)
        if rhythm is None:
            effects.append(Forget(name))
        elif not good.reminded:
            effects.append(Wake(good.last + rhythm * (1 - settings.ahead), about=name))
    if len(goods) > _GOODS_KEPT:
        for name in list(goods)[:-_GOODS_KEPT]:
            del goods[name]
            effects.append(Forget(name))
    return effects


@rule.on_wake
def runs_out(state: State, wake: Woken, settings: Settings) -> Iterable[Effect]:
    """By their rhythm the next is almost due."""
    good = state.goods[wake.about]
    rhythm = _rhythm(good, settings)
    assert rhythm is not None, "only a rhythm arms the wake"
    good.reminded = True
    yield FollowUpRequest(
        what="replenishment reminder",
        why=f"They buy {wake.about} about every {rhythm / _DAY:.0f} days and last did on "
        f"{good.last.date()}: the next is due on {good.last + rhythm:%Y-%m-%d}.",
        about=wake.about,
        purpose="marketing",
        channels=("email",),
        priority="low",
        due=rhythm * settings.ahead,
        expires=settings.expires,
    )


def _name(product: Product, settings: Settings) -> str:
    wanted = product.category if settings.by == "category" else None
    return (wanted or product.product_id)[:_LONGEST]


def _rhythm(good: Good, settings: Settings) -> timedelta | None:
    """The mean gap between purchases, None while they are too few or too irregular to tell."""
    days = good.days
    if len(days) < 2:
        return None
    mean = (days[-1] - days[0]) / (len(days) - 1)
    rhythm = timedelta(mean)
    if not settings.at_least <= rhythm <= settings.at_most:
        return None
    spread = settings.spread * mean
    for before, after in pairwise(days):
        if abs(after - before - mean) > spread:
            return None
    return rhythm
