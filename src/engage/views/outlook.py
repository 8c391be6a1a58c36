"""When silence may next move an account's health into another band, without looking day by day.

The answer is never too late, and cheap, since it is asked after every event: what is alone in the score is solved
exactly, a mixture is bounded. It may be too early; then one looks, and asks again (conservative advancement).

Why the bound holds: let a score be Σ sᵢ·vᵢ / Σ sᵢ. In silence no share s and no value v grows, and each product sᵢ·vᵢ
falls no faster than with its own half-life hᵢ, since either its value fades (a prior above 0) or its share does. So the
score is at least S·Σ pᵢ·2^(−t/hᵢ) with pᵢ the products' parts, and that is at least S·2^(−t·Σ pᵢ/hᵢ) (Jensen). The same
of 100 − score, where only shares can fade, bounds a rise: what pulled the score down is forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from math import ceil, log2

from engage.events.envelope import EPOCH
from engage.views.evidence import DAY, LEAST_EVIDENCE, Component, Evidence
from engage.views.health import SLIPPING, STEADY, THRIVING, Assessment

LEAST_WAIT = DAY
"""Seconds: bands move on their day, and a score that lies close to an edge is looked at no more often than daily."""
_HOUR = 3_600
_NEVER = 100 * 365 * DAY
_EDGES = {
    "thriving": (THRIVING, 100.0),
    "steady": (STEADY, THRIVING),
    "slipping": (SLIPPING, STEADY),
    "at_risk": (0.0, SLIPPING),
}


def next_look(
    components: Mapping[str, Component], evidence: Mapping[str, Evidence], seen: Assessment
) -> datetime | None:
    """No sooner than a day after ``seen`` and no later than the day on which its band can change; None for never."""
    if seen.score is None or seen.band == "unknown":
        return None
    low, high = _EDGES[seen.band]
    at = seen.as_of.timestamp()
    wait = min(
        _forgetting(components, evidence, seen, at),
        _falling(components, evidence, seen, at, seen.score, low) if low else _NEVER,
        _rising(components, seen, seen.score, high) if high < 100.0 else _NEVER,
    )
    if wait >= _NEVER:
        return None
    return EPOCH + timedelta(0, ceil((at + max(wait, LEAST_WAIT)) / _HOUR) * _HOUR)


def _forgetting(
    components: Mapping[str, Component], evidence: Mapping[str, Evidence], seen: Assessment, at: float
) -> float:
    """Seconds until a component is unknown again: exact."""
    soonest = _NEVER
    for name in seen.weights:
        component, known = components[name], evidence[name]
        if not component.prior and known.weight > 0:
            soonest = min(soonest, component.seconds * log2(known.weight / LEAST_EVIDENCE) + known.as_of - at)
    return soonest


def _falling(
    components: Mapping[str, Component],
    evidence: Mapping[str, Evidence],
    seen: Assessment,
    at: float,
    score: float,
    low: float,
) -> float:
    """Seconds that the score stays at ``low`` or above at least."""
    if len(seen.weights) == 1:
        [name] = seen.weights
        return _alone(components[name], evidence[name], at, low)
    parts = fading = 0.0
    fades = False
    for name, share in seen.weights.items():
        component, value = components[name], seen.components[name] or 0.0
        parts += share * value
        fading += share * value / component.seconds
        fades = fades or value < low or (component.prior > 0 and value > 0)
    return log2(score / low) * parts / fading if fades and fading else _NEVER


def _alone(component: Component, known: Evidence, at: float, low: float) -> float:
    """Seconds until the only component stands at ``low``: T·d / (prior + W·d) = low, solved for the decay d."""
    if not component.prior:
        return _NEVER
    left = 2.0 ** ((known.as_of - at) / component.seconds)
    above = (known.total - low * known.weight) * left
    return component.seconds * log2(above / (low * component.prior)) if above > 0 else 0.0


def _rising(components: Mapping[str, Component], seen: Assessment, score: float, high: float) -> float:
    """Seconds that the score stays below ``high`` at least."""
    parts = fading = highest = 0.0
    for name, share in seen.weights.items():
        component, value = components[name], seen.components[name] or 0.0
        highest = max(highest, value)
        parts += share * (100.0 - value)
        if not component.prior:
            fading += share * (100.0 - value) / component.seconds
    return log2((100.0 - score) / (100.0 - high)) * parts / fading if highest >= high and fading else _NEVER
