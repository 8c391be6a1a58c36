"""What a customer says of us: surveys, and reviews in public."""

from __future__ import annotations

from engage.events.catalogue.surveys import SCALES, ReviewPosted, SurveyAnswered
from engage.events.envelope import Event
from engage.views.evidence import Component, Judged, Markings, count

SATISFACTION = Component("satisfaction", "What they say of us", weight=2, half_life_days=180)

markings = Markings()


@markings.on(SurveyAnswered)
def answered(row: Judged, event: Event[SurveyAnswered]) -> None:
    """What they answered, from the worst on this kind of survey's scale (0) to the best (100).

    A survey asks about many orders: each answer is its own, so its event names it.
    """
    low, high = SCALES[event.data.kind]
    count(row, SATISFACTION, event, f"answer {event.id}", 100.0 * (event.data.score - low) / (high - low))


@markings.on(ReviewPosted)
def reviewed(row: Judged, event: Event[ReviewPosted]) -> None:
    """One star is 0, five are 100; a changed review replaces what it said before."""
    data = event.data
    count(row, SATISFACTION, event, f"review {data.review_id or data.product_id}", 25.0 * (data.rating - 1.0))
