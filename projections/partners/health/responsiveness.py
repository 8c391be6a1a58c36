"""How soon a partner answers what we ask."""

from __future__ import annotations

from engage.events.catalogue.service_levels import RequestAnswered
from engage.events.envelope import Event
from engage.views.decay import faded
from engage.views.evidence import DAY, Component, Judged, Markings, count

RESPONSIVENESS = Component("responsiveness", "How soon they answer us", weight=1, half_life_days=120)

HALVED_BY = 2 * DAY
"""Seconds of waiting that halve an answer's mark."""

markings = Markings()


@markings.on(RequestAnswered)
def answered(row: Judged, event: Event[RequestAnswered]) -> None:
    """By how long we waited."""
    count(row, RESPONSIVENESS, event, f"request {event.data.request_id}", 100.0 * faded(event.data.waited, HALVED_BY))
