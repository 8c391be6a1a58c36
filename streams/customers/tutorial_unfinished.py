"""Offer help to somebody who began a tutorial and got stuck: who learns to use what they bought stays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from msgspec import Struct

from engage.events.catalogue.tutorials import (
    TutorialAbandoned,
    TutorialCompleted,
    TutorialStarted,
    TutorialStepCompleted,
)
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Forget, Rule, RuleSettings, Wake, Woken

_OPEN = 20
_REMEMBERED = 50
_TITLE = 80


class Settings(RuleSettings):
    """Help is offered when nothing moved for ``after`` (days), once per tutorial; ``expires``: how long (days)."""

    after: timedelta = timedelta(days=7)
    expires: timedelta = timedelta(days=21)


class Progress(Struct, omit_defaults=True, gc=False):
    """How far they came: ``step`` of ``steps`` (0: unknown), and when they last did something in it."""

    last: datetime
    title: str = ""
    step: int = 0
    steps: int = 0


class State(Struct, omit_defaults=True, gc=False):
    """The tutorials begun, by id, and the latest ones that need no offer (any more)."""

    begun: dict[str, Progress] = {}
    done: list[str] = []


rule = Rule("tutorial-unfinished", version=2, settings=Settings(), state=State)


@rule.on(TutorialStarted, TutorialStepCompleted, TutorialAbandoned)
def moved(
    state: State,
    event: Event[TutorialStarted | TutorialStepCompleted | TutorialAbandoned],
    settings: Settings,
) -> Iterable[Effect]:
    """They are at it: a week from here they may need help."""
    data = event.data
    if data.tutorial_id in state.done:
        return
    progress = state.begun.get(data.tutorial_id)
    if progress is None:
        progress = state.begun[data.tutorial_id] = Progress(event.time)
        yield from _bound(state)
    progress.last = max(progress.last, event.time)
    if isinstance(data, TutorialStarted):
        progress.title, progress.steps = (data.title or "")[:_TITLE], data.steps or 0
    elif isinstance(data, TutorialStepCompleted):
        progress.step = max(progress.step, data.step)
    yield Wake(progress.last + settings.after, about=data.tutorial_id)


@rule.on(TutorialCompleted)
def completed(state: State, event: Event[TutorialCompleted], settings: Settings) -> Iterable[Effect]:
    """They made it."""
    _finish(state, event.data.tutorial_id)
    yield Forget(event.data.tutorial_id)


@rule.on_wake
def stuck(state: State, wake: Woken, settings: Settings) -> Iterable[Effect]:
    """Nothing has moved for a week."""
    progress = state.begun[wake.about]
    _finish(state, wake.about)
    name = f"“{progress.title}”" if progress.title else wake.about
    of = f" of {progress.steps}" if progress.steps else ""
    yield FollowUpRequest(
        what="tutorial help",
        why=f"They did {progress.step}{of} steps of the tutorial {name} and stopped on {progress.last.date()}.",
        about=wake.about,
        purpose="service",
        channels=("email",),
        priority="low",
        due=timedelta(days=3),
        expires=settings.expires,
    )


def _bound(state: State) -> Iterator[Effect]:
    """Give up the tutorial left alone for longest when somebody begins more than they will ever finish."""
    if len(state.begun) > _OPEN:
        oldest = min(list(state.begun)[:-1], key=lambda tutorial_id: state.begun[tutorial_id].last)
        del state.begun[oldest]
        yield Forget(oldest)


def _finish(state: State, tutorial_id: str) -> None:
    state.begun.pop(tutorial_id, None)
    if tutorial_id not in state.done:
        state.done = [*state.done, tutorial_id][-_REMEMBERED:]
