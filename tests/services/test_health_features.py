"""What the learned peers see of a customer: nineteen finite numbers, and none of tomorrow."""

from datetime import date, timedelta
from math import isfinite, log1p

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engage.services.health_features import COUNT, features
from engage.services.purchase_history import Purchase, in_order

TODAY = date(1997, 9, 30)


def purchase(days_ago: int, amount: float) -> Purchase:
    return Purchase(days_ago, "00001", TODAY - timedelta(days=days_ago), amount)


def test_recency_frequency_money_and_rhythm_of_a_regular_customer() -> None:
    seen = features(in_order([purchase(10, 30.0), purchase(40, 20.0), purchase(70, 10.0)]), TODAY)
    decayed = [0.5 ** (days / 60) for days in (10, 40, 70)]
    spent = [log1p(amount) for amount in (30.0, 20.0, 10.0)]
    assert seen == pytest.approx(
        [
            *(log1p(10), log1p(40), log1p(70), 1 / 7),
            *(log1p(3), log1p(3), log1p(1), log1p(3), 0, log1p(sum(decayed))),
            *(log1p(60), log1p(20), log1p(30), log1p(30)),
            log1p(sum(weight * each for weight, each in zip(decayed, spent, strict=True))),
            *(log1p(30), 0, log1p(30), log1p(1 / 3)),
        ]
    )


@given(st.lists(st.tuples(st.integers(0, 300), st.floats(0, 5000)), min_size=1, max_size=12))
def test_there_are_always_nineteen_finite_numbers(bought: list[tuple[int, float]]) -> None:
    seen = features(in_order(purchase(days_ago, amount) for days_ago, amount in bought), TODAY)
    assert len(seen) == COUNT == 19
    assert all(map(isfinite, seen))
