"""The yardstick is the model of the paper."""

from collections import Counter
from math import asin, isclose, log

import pytest

from engage.services.bg_nbd import PUBLISHED, History, Parameters, expected_purchases, fit, gauss, log_likelihood


def test_it_expects_what_the_authors_worked_out_by_hand() -> None:
    """B. G. S. Hardie's note on the model: x = 2, t_x = 30.43, T = 38.86 weeks, 39 weeks ahead: 1.226 purchases."""
    assert expected_purchases(PUBLISHED, History(2, 30.43, 38.86), 39) == pytest.approx(1.226, abs=5e-4)


def test_who_bought_lately_is_expected_to_buy_more_than_who_stopped() -> None:
    lately, stopped = History(5, 38.0, 39.0), History(5, 10.0, 39.0)
    assert expected_purchases(PUBLISHED, lately, 39) > expected_purchases(PUBLISHED, stopped, 39)


def test_nothing_is_expected_of_no_time_at_all() -> None:
    assert expected_purchases(PUBLISHED, History(3, 20.0, 30.0), 0.0) == pytest.approx(0.0)


@pytest.mark.parametrize("z", [0.1, 0.5, 0.9, 0.99])
def test_the_series_agrees_with_functions_known_in_closed_form(z: float) -> None:
    assert isclose(gauss(1, 1, 2, z), -log(1 - z) / z, rel_tol=1e-12)
    assert isclose(gauss(0.5, 0.5, 1.5, z * z), asin(z) / z, rel_tol=1e-12)
    assert isclose(gauss(50.2, 3.0, 3.0, z), (1 - z) ** -50.2, rel_tol=1e-10)


def test_the_series_is_refused_where_it_does_not_converge() -> None:
    with pytest.raises(ValueError, match="0 <= z < 1"):
        gauss(1, 1, 2, 1.0)


def test_no_small_step_makes_the_histories_likelier_than_the_fit() -> None:
    customers = Counter(
        History(repeats, min(3.0 + 5 * repeats + age % 7, age - 1.0) if repeats else 0.0, float(age))
        for age in range(27, 40)
        for repeats in (0, 0, 0, 0, 0, 1, 1, 2, 3, 5)
    )
    found = fit(customers)
    best = log_likelihood(found, customers)
    for r, alpha, a, b in [(1.05, 1, 1, 1), (1, 1.05, 1, 1), (1, 1, 1.05, 1), (1, 1, 1, 1.05)]:
        for up in (1, -1):
            moved = Parameters(found.r * r**up, found.alpha * alpha**up, found.a * a**up, found.b * b**up)
            assert log_likelihood(moved, customers) < best
