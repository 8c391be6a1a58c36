"""From components to one score with a band, a confidence and its reasons; what is unknown stays unknown.

The score is the mean of the known components, each with its weight times its credibility n / (n + k): H. Bühlmann and
A. Gisler, "A Course in Credibility Theory and its Applications" (2005), chapter 3, n being the evidence and k that at
which it counts half. Evidence is what is left of it after decay, but the plain number of events where silence speaks
(a prior above 0): that nobody came back for a year is something we know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from msgspec import Struct

from engage.events.catalogue.health import Band
from engage.views.evidence import LEAST_EVIDENCE, Component, Evidence, Judged, contributions, is_known

THRIVING, STEADY, SLIPPING = 70.0, 40.0, 20.0
"""The lowest score of each band; below ``SLIPPING`` an account is at risk."""

HALF_CONFIDENT = 12.0
"""Weight times number of fresh events at which confidence is ½: two purchases, or four deliveries."""

_WORDS: dict[Band, str] = {
    "thriving": "strong",
    "steady": "fair",
    "slipping": "weak",
    "at_risk": "poor",
    "unknown": "?",
}


class Assessment(Struct, frozen=True):
    """An account's health at a moment: ``score`` and ``components`` 0-100 or None (unknown), ``confidence`` 0-1."""

    as_of: datetime
    score: float | None
    band: Band
    confidence: float
    components: dict[str, float | None]
    weights: dict[str, float]
    """How much each known component has to say in the score; only their proportions matter."""


class Moved(Struct, frozen=True):
    """An event that moved a component, by ``contribution`` of its points."""

    event_id: str
    time: datetime
    type: str
    contribution: float


class Explanation(Struct, frozen=True):
    """One component explained: its ``value`` 0-100, ``weight`` (share in the score, 0-1), in words, and by what."""

    component: str
    value: float
    weight: float
    words: str
    events: list[Moved]


def band_of(score: float | None) -> Band:
    """The band a score (0-100, or None) lies in."""
    if score is None:
        return "unknown"
    if score >= STEADY:
        return "thriving" if score >= THRIVING else "steady"
    return "slipping" if score >= SLIPPING else "at_risk"


def in_order(components: Mapping[str, Component], evidence: Mapping[str, Evidence]) -> Iterable[str]:
    """The names of what there is evidence of, in the order of ``components``; of most accounts it is one alone."""
    return evidence if len(evidence) < 2 else [name for name in components if name in evidence]


def score_of(components: Mapping[str, Component], evidence: Mapping[str, Evidence], moment: datetime) -> float | None:
    """The ``score`` of ``assess`` and nothing else, in a third of its time: each event asks it for the trend."""
    at = moment.timestamp()
    weighted = whole = 0.0
    for name in in_order(components, evidence):
        component, known = components[name], evidence[name]
        left = 2.0 ** ((known.as_of - at) / component.seconds)
        weight = known.weight * left
        if is_known(component, known, weight):
            value = known.total * left / (component.prior + weight) if weight > 0 else 0.0
            backing = known.count if component.prior > 0 else weight
            share = component.weight * backing / (backing + component.credible_after)
            weighted += share * min(max(value, 0.0), 100.0)
            whole += share
    return min(weighted / whole, 100.0) if whole > 0 else None


def assess(components: Mapping[str, Component], evidence: Mapping[str, Evidence], moment: datetime) -> Assessment:
    """The health that this evidence amounts to at ``moment``, not earlier than the evidence itself.

    Sums go in the order of ``components``: a database may give ``evidence`` back in another one, and the last digit
    must not depend on it. Speed lives here: a fold of ``account_health`` asks two or three times, so what a component
    needs is looked up once and nothing is called for it.
    """
    at = moment.timestamp()
    values: dict[str, float | None] = {}
    weights: dict[str, float] = {}
    weighted = whole = amount = 0.0
    for name in in_order(components, evidence):
        component, known = components[name], evidence[name]
        left = 2.0 ** ((known.as_of - at) / component.seconds)
        weight, prior = known.weight * left, component.prior
        if known.count <= 0 or (prior <= 0 and weight < LEAST_EVIDENCE):
            values[name] = None
            continue
        value = known.total * left / (prior + weight) if weight > 0 else 0.0
        if value < 0.0:
            value = 0.0
        elif value > 100.0:
            value = 100.0
        values[name] = value
        backing = known.count if prior > 0 else weight
        share = component.weight * backing / (backing + component.credible_after)
        weights[name] = share
        weighted += share * value
        whole += share
        amount += component.weight * backing
    score = min(weighted / whole, 100.0) if whole > 0 else None  # a mean may be a rounding above its parts
    return Assessment(moment, score, band_of(score), amount / (amount + HALF_CONFIDENT), values, weights)


def explain(components: Mapping[str, Component], row: Judged, moment: datetime) -> list[Explanation]:
    """Each known component at ``moment``, the weightiest first, with the events that move it most."""
    assessment = assess(components, row.evidence, moment)
    whole = sum(assessment.weights.values())
    found = []
    for name, share in sorted(assessment.weights.items(), key=lambda item: (-item[1], item[0])):
        component, value = components[name], assessment.components[name]
        assert value is not None, "only known components weigh"
        points = contributions(component, row.evidence[name], row.reasons[name], moment.timestamp())
        moved = sorted(
            (
                Moved(reason.event_id, reason.time.astimezone(UTC), reason.type, round(by, 2))
                for reason, by in zip(row.reasons[name], points, strict=True)
                if not reason.pending
            ),
            key=lambda event: -abs(event.contribution),
        )
        found.append(Explanation(name, value, share / whole, in_words(component.asks, value), moved))
    return found


def in_words(asks: str, value: float) -> str:
    """What a component asks, and how it stands (0-100)."""
    return f"{asks}: {_WORDS[band_of(value)]}, {value:.0f} of 100"
