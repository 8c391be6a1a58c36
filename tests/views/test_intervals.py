"""Intervals are those of the books, and cover what they claim."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engage.views.intervals import count_change, share_difference, wilson


def test_the_hybrid_score_interval_is_that_of_newcombe_s_table():
    """R. G. Newcombe, Statistics in Medicine 17 (1998), table II, method 10: (a) 56/70 and 48/80, (b) 9/10 and 3/10."""
    found = share_difference(56, 70, 48, 80)
    assert found is not None
    assert (round(found.value, 4), round(found.low, 4), round(found.high, 4)) == (0.2, 0.0524, 0.3339)
    found = share_difference(9, 10, 3, 10)
    assert found is not None
    assert (round(found.low, 4), round(found.high, 4)) == (0.1705, 0.8090)


def test_a_group_with_nobody_in_it_tells_no_difference():
    assert share_difference(0, 0, 1, 2) is None
    assert share_difference(1, 2, 0, 0) is None


@given(st.integers(1, 500).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))), st.integers(1, 500))
def test_an_interval_holds_its_share_and_shrinks_with_more(hits_of, times):
    hits, of = hits_of
    low, high = wilson(hits, of)
    assert -1e-9 <= low <= hits / of + 1e-9
    assert hits / of - 1e-9 <= high <= 1 + 1e-9
    more_low, more_high = wilson(hits * times, of * times)
    assert more_high - more_low <= high - low + 1e-9


def test_a_steady_rise_is_told_from_chance():
    change = count_change([100, 104, 98, 102], [150, 148, 152, 146])
    assert change is not None
    assert change.value == pytest.approx(0.475, abs=0.01)
    assert change.low > 0.25
    assert change.confidence > 0.999


def test_few_or_unsteady_counts_say_nothing():
    few = count_change([1, 0, 1, 1], [2, 1, 1, 1])
    unsteady = count_change([10, 90, 5, 95], [100, 20, 150, 10])
    assert few is not None
    assert unsteady is not None
    assert few.low < 0 < few.high
    assert unsteady.low < 0 < unsteady.high
    assert max(few.confidence, unsteady.confidence) < 0.9


def test_a_count_that_fell_to_nothing_fell():
    gone = count_change([30, 28, 33, 29], [0, 0, 0, 0])
    hardly = count_change([1, 0, 1, 0], [0, 0, 0, 0])
    assert gone is not None
    assert hardly is not None
    assert gone.high < -0.5
    assert hardly.low < 0 < hardly.high


def test_nothing_to_compare_is_not_known():
    assert count_change([0, 0, 0, 0], [0, 0, 0, 0]) is None
    with pytest.raises(ValueError, match="four periods"):
        count_change([1], [2])
