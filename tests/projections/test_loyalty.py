"""Points that come, go and lapse, tiers, and how lately, how often and for how much an account buys."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from engage.events.catalogue.commerce import OrderCancelled, OrderCompleted, OrderRefunded
from engage.events.catalogue.loyalty import (
    PointsEarned,
    PointsExpired,
    PointsExpiring,
    PointsRedeemed,
    ReferralMade,
    TierLost,
    TierReached,
)
from engage.testing.events import happened, moment
from engage.testing.projections import given
from projections.customers.loyalty import loyalty
from projections.customers.points import KEPT_LOTS
from projections.customers.rfm import money_mark


def earned(points: int, expires: str | None = None, at: str = "2026-03-01", **how: Any) -> Any:
    data = PointsEarned(points=points, expires=None if expires is None else moment(expires))
    return happened(data, at=at, **how)


def redeemed(points: int, at: str = "2026-03-02", **how: Any) -> Any:
    return happened(PointsRedeemed(points=points), at=at, **how)


def lapsed(points: int, at: str, **how: Any) -> Any:
    return happened(PointsExpired(points=points), at=at, **how)


def order(order_id: str, total: float, at: str, currency: str = "EUR", **how: Any) -> Any:
    return happened(OrderCompleted(order_id=order_id, total=total, currency=currency), at=at, **how)


def test_points_are_spent_in_the_order_in_which_they_lapse() -> None:
    (
        given(loyalty, earned(100), earned(50, "2026-09-01"), earned(30, "2026-06-01"))
        .then("acc-1", balance=180, expiring=30, expires_at=moment("2026-06-01"))
        .when(redeemed(40))
        .then("acc-1", balance=140, redeemed=40, expiring=40, expires_at=moment("2026-09-01"))
    )


def test_points_lapse_on_their_day_without_an_event() -> None:
    (
        given(loyalty, earned(100), earned(30, "2026-06-01"), earned(20, "2026-07-01"))
        .until("2026-05-31T23:59")
        .then("acc-1", balance=150)
        .until("2026-06-01")
        .then("acc-1", balance=120, expired=30, expiring=20, expires_at=moment("2026-07-01"))
        .until("2026-08-01")
        .then("acc-1", balance=100, expired=50, expiring=0, expires_at=None)
    )


def test_to_be_told_that_points_lapsed_does_not_take_them_twice() -> None:
    first = given(loyalty, earned(30, "2026-06-01"))
    first.until("2026-06-02").when(lapsed(30, "2026-06-01")).then("acc-1", balance=0, expired=30)
    (
        given(loyalty, earned(30, "2026-06-01"), lapsed(30, "2026-05-31"))
        .then("acc-1", balance=0, expired=30, expires_at=None)
        .until("2026-07-01")
        .then("acc-1", balance=0, expired=30)
    )


def test_points_of_which_nobody_said_when_they_lapse_lapse_when_we_are_told() -> None:
    given(loyalty, earned(30), lapsed(10, "2026-06-01")).then("acc-1", balance=20, expired=10)


def test_points_announced_to_lapse_do() -> None:
    soon = happened(PointsExpiring(points=40, expires=moment("2026-06-01")), at="2026-05-01")
    (
        given(loyalty, earned(100), soon, soon)
        .then("acc-1", balance=100, expiring=40)
        .until("2026-06-01")
        .then("acc-1", balance=60, expired=40)
    )


def test_what_was_spent_in_time_did_not_lapse_though_we_hear_of_it_late() -> None:
    (
        given(loyalty, earned(100, "2026-06-01"))
        .until("2026-06-02")
        .then("acc-1", balance=0, expired=100)
        .when(redeemed(70, "2026-05-31", recorded="2026-06-03"))
        .then("acc-1", balance=0, expired=30, redeemed=70)
    )


def test_points_spent_before_we_hear_that_they_were_earned_do_not_lapse_again() -> None:
    (
        given(loyalty, redeemed(70), earned(100, "2026-06-01", recorded="2026-03-03"))
        .then("acc-1", balance=30, expiring=30)
        .until("2026-06-01")
        .then("acc-1", balance=0, expired=30)
    )


def test_points_that_had_lapsed_when_we_hear_of_them_lapse_at_once() -> None:
    told = given(loyalty, earned(100, "2026-06-01", recorded="2026-07-01")).until("2026-07-01T00:01")
    told.then("acc-1", balance=0, expired=100, as_of=moment("2026-07-01"))


def test_lots_do_not_grow_for_ever() -> None:
    days = (moment("2026-06-01") + timedelta(days=day) for day in range(100))
    row = given(loyalty, *(earned(1, day.isoformat()) for day in days)).rows["acc-1"]
    assert (row.balance, len(row.lots), sum(lot.points for lot in row.lots)) == (100, KEPT_LOTS, 100)


def test_a_tier_lasts_from_when_it_was_first_reached() -> None:
    gold = TierReached(tier="gold", until=moment("2027-01-01"))
    (
        given(loyalty, happened(gold, at="2026-03-01"), happened(gold, at="2026-04-01"))
        .then("acc-1", tier="gold", tier_since=moment("2026-03-01"), tier_until=moment("2027-01-01"))
        .when(happened(TierReached(tier="silver"), at="2026-02-01", recorded="2026-04-02"))
        .then("acc-1", tier="gold")
        .when(happened(TierLost(tier="gold", now="silver"), at="2026-05-01"))
        .then("acc-1", tier="silver", tier_since=moment("2026-05-01"), tier_until=None)
        .when(happened(TierLost(tier="silver"), at="2026-06-01"))
        .then("acc-1", tier=None, tier_since=None)
    )


def test_who_only_refers_others_has_no_marks_and_no_balance() -> None:
    given(loyalty, happened(ReferralMade(referral_id="r-1"), at="2026-03-01")).then(
        "acc-1", referrals=1, balance=None, rfm=None, money=None, last_order_at=None
    )


def test_marks_say_how_lately_how_often_and_for_how_much() -> None:
    told = given(loyalty, *(order(f"o-{n}", 60.0, f"2026-03-0{n}") for n in range(1, 4)))
    told.then("acc-1", rfm="533", orders=3, money=180.0, currency="EUR", last_order_at=moment("2026-03-03"))


def test_recency_falls_on_its_day_without_an_event() -> None:
    told = given(loyalty, order("o-1", 60.0, "2026-03-01"))
    for until, mark in (("2026-03-30", 5), ("2026-03-31", 4), ("2026-05-30", 3), ("2026-08-28", 2), ("2027-03-01", 1)):
        told.until(until).then("acc-1", recency=mark, rfm=f"{mark}12")


def test_an_order_refunded_told_twice_or_cancelled_counts_for_what_is_left_of_it() -> None:
    back = OrderRefunded(order_id="o-2", total=40.0, currency="EUR")
    (
        given(loyalty, order("o-1", 60.0, "2026-03-01"), order("o-2", 100.0, "2026-03-05"))
        .when(order("o-2", 100.0, "2026-03-05", id="again"), happened(back, at="2026-03-06"))
        .then("acc-1", orders=2, money=120.0)
        .when(happened(OrderRefunded(order_id="o-2", total=400.0, currency="EUR"), at="2026-03-07"))
        .then("acc-1", orders=1, money=60.0, last_order_at=moment("2026-03-01"))
        .when(happened(OrderCancelled(order_id="o-1"), at="2026-03-08"))
        .then("acc-1", orders=0, money=None, rfm=None, last_order_at=None)
    )


def test_an_order_cancelled_before_we_hear_of_it_never_counts() -> None:
    cancelled = happened(OrderCancelled(order_id="o-1"), at="2026-03-02")
    given(loyalty, cancelled, order("o-1", 60.0, "2026-03-01", recorded="2026-03-03")).then("acc-1", orders=0, rfm=None)


def test_currencies_are_not_added_up() -> None:
    told = (
        order("o-1", 60.0, "2026-03-01"),
        order("o-2", 70.0, "2026-03-02"),
        order("o-3", 9_000.0, "2026-03-03", "JPY"),
    )
    row = given(loyalty, *told).then("acc-1", currency="EUR", money=130.0, rfm="532").rows["acc-1"]
    assert {currency: (purse.orders, purse.cents) for currency, purse in row.spent.items()} == {
        "EUR": (2, 13_000),
        "JPY": (1, 900_000),
    }


@pytest.mark.parametrize(("currency", "cents", "mark"), [("USD", 5_000, 2), ("JPY", 500_000, 2), ("XAU", 5_000, None)])
def test_money_is_marked_on_the_scale_of_its_currency(currency: str, cents: int, mark: int | None) -> None:
    assert money_mark(currency, cents) == mark


DAYS = st.integers(0, 400)
POINTS = st.one_of(
    st.builds(
        PointsEarned,
        points=st.integers(0, 50),
        expires=st.one_of(st.none(), DAYS.map(lambda day: moment("2026-01-01") + timedelta(days=day))),
    ),
    st.builds(PointsRedeemed, points=st.integers(0, 50)),
    st.builds(PointsExpired, points=st.integers(0, 50)),
    st.builds(
        PointsExpiring,
        points=st.integers(0, 50),
        expires=DAYS.map(lambda day: moment("2026-01-01") + timedelta(days=day)),
    ),
)


@for_all(st.lists(st.tuples(POINTS, DAYS, DAYS), min_size=1, max_size=30))
def test_the_books_balance_whatever_comes_in_whatever_order(told: list[tuple[Any, int, int]]) -> None:
    start, rows = moment("2026-01-01"), given(loyalty)
    for data, day, late in sorted(told, key=lambda one: one[1] + one[2]):
        heard = start + timedelta(days=day + late)
        row = rows.when(happened(data, at=start + timedelta(days=day), recorded=heard)).rows["acc-1"]
        assert (row.balance or 0) == row.earned - row.redeemed - row.expired
        assert sum(lot.points for lot in row.lots) <= max(row.balance or 0, 0)
        assert all(lot.points > 0 for lot in (*row.lots, *row.lapsed))
        assert row.expired >= 0
    row = rows.until("2029-01-01").rows["acc-1"]
    assert (row.balance or 0) == row.earned - row.redeemed - row.expired
    assert row.lots == []
