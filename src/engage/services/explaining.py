"""Why an account's health is what it is: from the score to its components, from these to the events, in words."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from engage.events.catalogue.health import Band
from engage.services.reading import Account, Health
from engage.store.asking import Answers
from engage.store.views import ViewStore
from engage.views.asking import Condition, Question
from projections.shared.timeline import timeline


class ExplainedEvent(Struct, frozen=True):
    """An event that moved a component by ``contribution`` of its points, and so the score by ``points``.

    ``entry`` is where it stands in the log, ``summary`` what it was; null of what the timeline does not show.
    """

    event_id: str
    time: datetime
    type: str
    contribution: float
    points: float
    entry: str | None
    summary: str | None


class ExplainedComponent(Struct, frozen=True):
    """A component: its ``value`` 0-100, ``share`` of the score 0-1, ``points`` of the score that come of it."""

    component: str
    value: float
    share: float
    points: float
    words: str
    events: list[ExplainedEvent]


class Explained(Struct, frozen=True):
    """An account's health with its reasons: the ``points`` of the components are the score."""

    account: str
    as_of: datetime
    score: float | None
    band: Band
    words: str
    components: list[ExplainedComponent]
    unknown: list[str]


def explained(store: ViewStore, account: Account) -> Explained:
    """Why ``account`` is as it was read; blocking."""
    health = account.health
    wanted = {event.event_id for component in health.components for event in component.events}
    told = _told(store, account.account, wanted)
    components = []
    for one in health.components:
        events = []
        for event in one.events:
            entry, summary = told.get((event.event_id, event.type), (None, None))
            points = round(event.contribution * one.weight, 2)
            events.append(
                ExplainedEvent(event.event_id, event.time, event.type, event.contribution, points, entry, summary)
            )
        points = round(one.value * one.weight, 1)
        components.append(ExplainedComponent(one.component, one.value, one.weight, points, one.words, events))
    words = in_words(health)
    return Explained(account.account, health.as_of, health.score, health.band, words, components, health.unknown)


def in_words(health: Health) -> str:
    """The health and where it comes from, as a sentence."""
    if health.score is None:
        return "health unknown: nothing that says how it goes has happened yet"
    band = health.band.replace("_", " ")
    return f"health {health.score:.0f} of 100, {band}, with {health.confidence:.0%} confidence; {course(health)}"


def course(health: Health) -> str:
    """The last four weeks in points, and since when and by what the health is in its band."""
    if health.trend is None:
        trend = "four weeks ago unknown"
    elif points := round(health.trend):
        counted = "1 point" if abs(points) == 1 else f"{abs(points)} points"
        trend = f"{counted} {'up' if points > 0 else 'down'} in four weeks"
    else:
        trend = "as four weeks ago"
    if health.band_since is None or health.mover is None:
        return trend
    return f"{trend}; {health.band.replace('_', ' ')} since {health.band_since:%Y-%m-%d %H:%M}, through {health.mover}"


def _told(store: ViewStore, account: str, events: set[str]) -> dict[tuple[str, str], tuple[str, str]]:
    """Entry and summary of these events of the account, by event id and type."""
    if not events:
        return {}
    where = (Condition("account", "eq", account), Condition("event_id", "in", tuple(sorted(events))))
    found = Answers(store).page(timeline, Question(("event_id", "type", "entry", "summary"), where))
    return {(event_id, kind): (entry, summary) for (event_id, kind, entry, summary), _ in found}
