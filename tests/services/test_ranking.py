"""A score is held to who came back: by pairs, and by tenths of which each says a chance."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engage.services.ranking import auc, chance, deciles


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_auc_is_the_share_of_pairs_in_the_right_order(pairs: Sequence[tuple[int, bool]]) -> None:
    back = [score for score, came_back in pairs if came_back]
    gone = [score for score, came_back in pairs if not came_back]
    if not back or not gone:
        with pytest.raises(ValueError, match="none of one kind"):
            auc([score for score, _ in pairs], [came_back for _, came_back in pairs])
        return
    right = sum((b > g) + (b == g) / 2 for b in back for g in gone) / (len(back) * len(gone))
    assert auc([float(score) for score, _ in pairs], [came_back for _, came_back in pairs]) == pytest.approx(right)


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), min_size=1, max_size=60))
def test_every_customer_is_in_one_tenth(pairs: Sequence[tuple[float, bool]]) -> None:
    tenths = deciles([score for score, _ in pairs], [came_back for _, came_back in pairs])
    assert sum(tenth.customers for tenth in tenths) == len(pairs)
    assert sum(tenth.came_back for tenth in tenths) == sum(came_back for _, came_back in pairs)
    borders = [border for tenth in tenths for border in (tenth.lowest, tenth.highest)]
    assert borders == sorted(borders)


def test_of_equal_scores_the_outcome_does_not_say_which_tenth() -> None:
    assert {tenth.share for tenth in deciles([5.0] * 40, [True, False] * 20)} == {0.5}


def test_a_chance_lies_between_its_neighbours() -> None:
    tenths = deciles([float(score) for score in range(100)], [score % 10 < score // 10 for score in range(100)])
    assert chance(tenths, 0) == 0
    assert chance(tenths, 4.5) == 0
    assert chance(tenths, 9.5) == pytest.approx(0.05)
    assert chance(tenths, 200) == pytest.approx(0.9)
