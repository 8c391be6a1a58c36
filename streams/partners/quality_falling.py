"""Ask the manager to talk with a supplier whose goods get worse, before the defects reach our own customers."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from engage.events.catalogue.deliveries import QualityInspected
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Rule, RuleSettings

QUALITY = "quality"


class Settings(RuleSettings):
    """Quality falls when of the pieces of the last ``window`` inspections the share ``defective`` (0-1) was, or more.

    Nothing is said of fewer than ``pieces``. It has recovered when the share is ``recovered`` or less: only then the
    next fall is one. ``expires``: how long a talk can still help.
    """

    window: int = 5
    pieces: int = 100
    defective: float = 0.04
    recovered: float = 0.02
    expires: timedelta = timedelta(days=30)


class Inspection(Struct, frozen=True, array_like=True, order=True, gc=False):
    """What the last look at a delivery found, in pieces; in the order in which they took place."""

    at: datetime
    delivery_id: str
    inspected: int
    defective: int


class State(Struct, omit_defaults=True, gc=False):
    """The latest inspections, one a delivery, and whether quality falls."""

    latest: list[Inspection] = []
    falling: bool = False


rule = Rule("quality-falling", version=1, settings=Settings(), state=State)


@rule.on(QualityInspected)
def inspected(state: State, event: Event[QualityInspected], settings: Settings) -> Iterable[Effect]:
    """Somebody looked; a second look at the same delivery replaces the first."""
    data = event.data
    found = Inspection(event.time, data.delivery_id, data.inspected, data.defective)
    known = next((each for each in state.latest if each.delivery_id == found.delivery_id), None)
    if known is not None:
        if known >= found:
            return
        state.latest.remove(known)
    insort(state.latest, found)
    del state.latest[: -settings.window]
    pieces = sum(each.inspected for each in state.latest)
    if pieces < settings.pieces:
        return
    defective = sum(each.defective for each in state.latest)
    share = defective / pieces
    if state.falling:
        state.falling = share > settings.recovered
    elif share >= settings.defective:
        state.falling = True
        yield FollowUpRequest(
            what="talk about quality",
            why=f"{defective} of the {pieces} pieces of the last {len(state.latest)} inspections were defective "
            f"({share:.1%}), since {state.latest[0].at.date()}.",
            about=QUALITY,
            purpose="partnership",
            priority="high",
            due=timedelta(days=2),
            expires=settings.expires,
        )
