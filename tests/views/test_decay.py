"""Decay keeps its promises whatever the order of arrival, and for years."""

from datetime import timedelta
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engage.views.decay import Decayed, faded, half_life

DAY = 86_400.0
NOW = 1_772_000_000.0

occurrences = st.lists(
    st.tuples(st.floats(0, 1_000), st.floats(0, 20 * 365), st.floats(0.1, 5)), min_size=1, max_size=30
)


def test_after_one_half_life_half_is_left() -> None:
    assert faded(30 * DAY, half_life(timedelta(days=30))) == 0.5


def test_a_half_life_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than nothing"):
        half_life(timedelta(0))


@given(occurrences, st.randoms())
def test_the_order_of_arrival_does_not_matter(happened: list[tuple[float, float, float]], chance: object) -> None:
    month = 30 * DAY
    in_order, shuffled = Decayed(), Decayed()
    for x, age, weight in sorted(happened, key=lambda one: -one[1]):
        in_order.add(x, NOW - age * DAY, month, weight)
    chance.shuffle(happened)  # type: ignore[attr-defined]
    for x, age, weight in happened:
        shuffled.add(x, NOW - age * DAY, month, weight)
    assert isclose(in_order.total_at(NOW, month), shuffled.total_at(NOW, month), rel_tol=1e-9, abs_tol=1e-290)
    assert isclose(in_order.weight_at(NOW, month), shuffled.weight_at(NOW, month), rel_tol=1e-9, abs_tol=1e-290)


@given(occurrences)
def test_it_equals_the_sum_written_out(happened: list[tuple[float, float, float]]) -> None:
    month = 30 * DAY
    kept = Decayed()
    for x, age, weight in happened:
        kept.add(x, NOW - age * DAY, month, weight)
    written_out = sum(x * weight * 2 ** (-age / 30) for x, age, weight in happened)
    assert isclose(kept.total_at(NOW, month), written_out, rel_tol=1e-9, abs_tol=1e-200)


def test_fifty_years_with_a_half_life_of_an_hour_neither_overflow_nor_lose_the_newest() -> None:
    hour = half_life(timedelta(hours=1))
    kept = Decayed()
    for year in range(50):
        kept.add(1.0, NOW + year * 365 * DAY, hour)
    assert kept.total_at(NOW + 49 * 365 * DAY, hour) == 1.0
    kept.add(1.0, NOW, hour)
    assert kept.total_at(NOW + 49 * 365 * DAY, hour) == 1.0
    assert kept.total_at(NOW + 99 * 365 * DAY, hour) == 0.0


def test_what_is_taken_back_leaves_what_was_there_before() -> None:
    week = half_life(timedelta(days=7))
    kept = Decayed()
    kept.add(80.0, NOW, week)
    kept.add(20.0, NOW + DAY, week, 2.0)
    kept.add(20.0, NOW + DAY, week, -2.0)
    assert isclose(kept.total_at(NOW, week), 80.0)
    assert isclose(kept.weight_at(NOW, week), 1.0)
