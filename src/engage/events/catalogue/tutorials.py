"""Tutorials: what customers learn to do, step by step, and where they stop."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from engage.events.catalogue.base import Count, EventData, Ref, Seconds, Text

Step = Annotated[int, Meta(ge=1, le=10_000, description="the step's number, counted from 1")]


class TutorialStarted(EventData):
    """A customer began a tutorial of ``steps`` steps."""

    tutorial_id: Ref
    title: Text | None = None
    steps: Count | None = None
    topic: Text | None = None


class TutorialStepCompleted(EventData):
    """A customer finished one step of a tutorial; ``spent`` is the time it took."""

    tutorial_id: Ref
    step: Step
    spent: Seconds | None = None


class TutorialCompleted(EventData):
    """A customer finished the whole tutorial; ``spent`` is the time it took."""

    tutorial_id: Ref
    title: Text | None = None
    spent: Seconds | None = None
    topic: Text | None = None


class TutorialAbandoned(EventData):
    """A customer closed a tutorial before its end; ``step`` is the one they left from."""

    tutorial_id: Ref
    step: Step | None = None
