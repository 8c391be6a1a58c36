"""Surveys and reviews: what we ask, what they answer, and what they say in public."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from engage.events.catalogue.base import EventData, Personal, Ref

SurveyKind = Literal["nps", "csat"]
"""``nps``: "would you recommend us?", 0-10. ``csat``: "how satisfied are you?", 1-5."""
Score = Annotated[int, Meta(ge=0, le=10, description="0-10 for nps, 1-5 for csat; higher is better")]
Rating = Annotated[float, Meta(ge=1, le=5, description="stars, 1-5")]

SCALES: dict[SurveyKind, tuple[int, int]] = {"nps": (0, 10), "csat": (1, 5)}
"""The lowest and the highest score of each kind of survey."""


class SurveySent(EventData):
    """A survey went out; ``order_id`` or ``ticket_id`` is what it asks about, ``channel`` how it was sent."""

    survey_id: Ref
    kind: SurveyKind
    order_id: Ref | None = None
    ticket_id: Ref | None = None
    channel: Ref | None = None


class SurveyAnswered(EventData):
    """A survey was answered; ``order_id`` or ``ticket_id`` is what it asked about."""

    survey_id: Ref
    kind: SurveyKind
    score: Score
    order_id: Ref | None = None
    ticket_id: Ref | None = None
    comment: Personal | None = None

    def __post_init__(self) -> None:
        """Raises ValueError when the score is off the scale of this kind of survey."""
        lowest, highest = SCALES[self.kind]
        if not lowest <= self.score <= highest:
            raise ValueError(f"a score of {self.kind} is {lowest}-{highest}, not {self.score}")


class SurveyDeclined(EventData):
    """Somebody said that they do not want to answer a survey."""

    survey_id: Ref
    kind: SurveyKind | None = None
    order_id: Ref | None = None
    ticket_id: Ref | None = None


class ReviewPosted(EventData):
    """A customer rated a product in public."""

    product_id: Ref
    rating: Rating
    review_id: Ref | None = None
    order_id: Ref | None = None
    title: Personal | None = None
    text: Personal | None = None
