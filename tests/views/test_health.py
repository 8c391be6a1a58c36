"""The score is a weighted mean of what is known, and says how sure it is."""

import pytest

from engage.events.envelope import from_micros
from engage.testing.events import moment
from engage.views.evidence import Component, Evidence
from engage.views.health import assess, band_of

NOW = moment("2026-03-01")
AT = NOW.timestamp()
HEAVY = Component("heavy", "Heavy", weight=3, half_life_days=30, credible_after=0)
LIGHT = Component("light", "Light", weight=1, half_life_days=30, credible_after=0)
SLOW = Component("slow", "Slow to believe", weight=1, half_life_days=30, credible_after=2)
ALL = {component.name: component for component in (HEAVY, LIGHT, SLOW)}


def marked(mark: float, weight: float = 1.0) -> Evidence:
    return Evidence(mark * weight, weight, AT, 1)


def test_nothing_known_is_no_score() -> None:
    health = assess(ALL, {}, NOW)
    assert (health.score, health.band, health.confidence, health.components) == (None, "unknown", 0.0, {})


def test_unknown_components_do_not_pull() -> None:
    assert assess(ALL, {"light": marked(35.0), "heavy": Evidence()}, NOW).score == 35.0


def test_known_components_pull_by_their_weight() -> None:
    assert assess(ALL, {"light": marked(20.0), "heavy": marked(60.0)}, NOW).score == pytest.approx(50.0)


def test_a_component_with_little_evidence_pulls_less() -> None:
    once = assess(ALL, {"heavy": marked(60.0), "slow": marked(0.0)}, NOW).score
    often = assess(ALL, {"heavy": marked(60.0), "slow": marked(0.0, 20.0)}, NOW).score
    assert once is not None
    assert often is not None
    assert often < once < 60.0
    assert once == pytest.approx(3 * 60 / (3 + 1 / 3))


def test_the_order_in_which_a_database_returns_evidence_changes_no_digit() -> None:
    evidence = {"slow": marked(33.3, 0.7), "light": marked(11.1), "heavy": marked(77.7, 3.3)}
    assert assess(ALL, evidence, NOW) == assess(ALL, dict(reversed(evidence.items())), NOW)


def test_confidence_grows_with_evidence_and_never_reaches_one() -> None:
    seen = [assess(ALL, {"heavy": marked(50.0, weight)}, NOW).confidence for weight in (0.1, 1.0, 4.0, 1_000.0)]
    assert seen == sorted(seen)
    assert seen[2] == 0.5
    assert seen[-1] < 1.0


@pytest.mark.parametrize(
    ("score", "band"),
    [(None, "unknown"), (0.0, "at_risk"), (19.9, "at_risk"), (20.0, "slipping"), (40.0, "steady"), (70.0, "thriving")],
)
def test_bands_begin_where_they_say(score: float | None, band: str) -> None:
    assert band_of(score) == band


def test_a_score_stays_between_0_and_100_whatever_rounding_does() -> None:
    drifted = Evidence(100.0 + 1e-9, 1.0, AT, 1)
    assert assess(ALL, {"heavy": drifted}, NOW).score == 100.0
    assert assess(ALL, {"heavy": Evidence(-1e-12, 1.0, AT, 1)}, NOW).score == 0.0


def test_a_century_of_silence_is_survived() -> None:
    later = from_micros(int((AT + 100 * 365 * 86_400) * 1e6))
    assert assess(ALL, {"heavy": marked(50.0)}, later).score is None
