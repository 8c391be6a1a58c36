"""Ask the manager to offer what similar accounts have and this one lacks: growth that helps both is the easiest to win.

What similar accounts have lies beyond this account, so it comes as an event of engage's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from engage.events.catalogue.cross_sell import CrossSellOpeningFound
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Rule, RuleSettings

_REMEMBERED = 50
_ABOUT = 200


class Settings(RuleSettings):
    """An opening is worth a talk when ``similar`` accounts or more were compared, ``support`` or more of which have it.

    They have it at least ``lift`` times as often as all accounts do. The same opening is asked about again no sooner
    than ``again`` after the last time. ``expires``: how long an offer makes sense.
    """

    similar: int = 10
    support: int = 5
    lift: float = 1.5
    again: timedelta = timedelta(days=180)
    expires: timedelta = timedelta(days=60)


class State(Struct, omit_defaults=True, gc=False):
    """When the manager was last asked about each opening; the latest of them."""

    asked: dict[str, datetime] = {}


rule = Rule("cross-sell-opening", version=1, settings=Settings(), state=State)


@rule.on(CrossSellOpeningFound)
def found(state: State, event: Event[CrossSellOpeningFound], settings: Settings) -> Iterable[Effect]:
    """Similar accounts have what this one lacks."""
    data = event.data
    if data.similar < settings.similar or data.support < settings.support or data.lift < settings.lift:
        return
    about = f"{data.kind}|{data.opening}"[:_ABOUT]
    asked = state.asked.get(about)
    if asked is not None and event.time - asked < settings.again:
        return
    state.asked.pop(about, None)
    state.asked[about] = event.time
    for oldest in list(state.asked)[:-_REMEMBERED]:
        del state.asked[oldest]
    yield FollowUpRequest(
        what="cross-sell opening",
        why=f"{data.support} of {data.similar} similar accounts have the {data.kind} “{data.opening[:_ABOUT]}”, "
        f"{data.lift:.1f} times as often as all accounts do; this one does not.",
        about=about,
        purpose="partnership",
        priority="low",
        due=timedelta(days=14),
        expires=settings.expires,
    )
