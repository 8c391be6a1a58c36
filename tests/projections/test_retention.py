"""Cohorts say who came back and what they left with us, and costs are told apart by the first order."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from engage.events.catalogue.advertising import AdvertClicked, AdvertShown, CampaignSpendReported
from engage.events.catalogue.commerce import OrderCancelled, OrderCompleted, OrderRefunded
from engage.events.catalogue.follow_up import FollowUpCompleted
from engage.events.envelope import Event
from engage.testing.events import happened, moment
from engage.testing.projections import given
from engage.views.months import month_of, months_between
from projections.customers.customer_months import customer_months
from projections.customers.retention import retention


def order(at: str, order_id: str = "o-1", total: float = 40, currency: str = "EUR", **more: Any) -> Event[Any]:
    return happened(OrderCompleted(order_id=order_id, total=total, currency=currency), at=at, **more)


def advert(at: str, cost: float = 0.5, **more: Any) -> Event[Any]:
    return happened(AdvertClicked(campaign="spring", cost=cost, currency="EUR"), at=at, **more)


def done(at: str) -> Event[Any]:
    return happened(FollowUpCompleted(follow_up_id=f"f {at}", outcome="reached"), at=at)


def test_a_cohort_is_followed_month_by_month() -> None:
    given(
        retention,
        order("2026-01-10"),
        order("2026-01-20", subject="acc-2", total=10, currency="USD"),
        order("2026-03-05", "o-2", 25),
        order("2026-04-01", subject="acc-3"),
    ).then(
        "2026-01+000",
        customers=2,
        active=2,
        active_share=1.0,
        repeat_rate=0.0,
        value={"EUR": 40.0, "USD": 10.0},
    ).then("2026-01+001", active=0, value={}, repeat_rate=0.0).then(
        "2026-01+002", customers=2, active=1, active_share=0.5, repeat_rate=0.5, value={"EUR": 25.0}
    ).then("2026-01+003", active=0, repeat_rate=0.5).then("2026-04+000", customers=1).then_no_row("2026-04+001")


def test_two_orders_in_the_first_month_are_a_repeat() -> None:
    given(retention, order("2026-01-10"), order("2026-01-12", "o-2")).then("2026-01+000", active=1, repeat_rate=1.0)


def test_what_goes_back_comes_off_the_month_of_the_order() -> None:
    told = given(retention, order("2026-01-10"), order("2026-03-10", "o-2"))
    told.when(happened(OrderRefunded(order_id="o-1", total=15, currency="EUR"), at="2026-03-11"))
    told.then("2026-01+000", value={"EUR": 25.0}).then("2026-01+002", value={"EUR": 40.0})


def test_a_first_order_that_is_cancelled_makes_no_customer_of_that_month() -> None:
    told = given(retention, order("2026-01-10"), happened(OrderCancelled(order_id="o-1"), at="2026-01-11"))
    told.then("prospects", customers=1).then_no_row("2026-01+000")
    told.when(order("2026-02-10", "o-2")).then("2026-02+000", customers=1).then_no_row("prospects")


@pytest.mark.parametrize("story", list(permutations(range(3))))
def test_the_cohort_is_that_of_the_earliest_order_however_late_it_is_told(story: tuple[int, ...]) -> None:
    events = [order("2026-01-31"), order("2026-02-10", "o-2"), order("2026-03-10", "o-3")]
    told = given(retention, *(events[place] for place in story))
    told.then("2026-01+002", active=1, repeat_rate=1.0).then("2026-01+000", repeat_rate=0.0)
    assert {row.cohort for row in told.rows.values()} == {"2026-01"}


def test_costs_before_the_first_order_won_the_customer_and_costs_after_it_keep_them() -> None:
    given(
        retention,
        advert("2025-12-30"),
        advert("2026-01-09"),
        order("2026-01-10"),
        advert("2026-01-11", cost=0.25),
        advert("2026-02-01", cost=0.125),
        advert("2026-01-08", cost=2),
    ).then("2026-01+000", cost_to_acquire={"EUR": 3.0}, cost_to_keep={"EUR": 0.25}).then(
        "2026-01+001", cost_to_acquire={}, cost_to_keep={"EUR": 0.125}, active=0
    )


def test_a_late_first_order_moves_the_costs_of_the_months_after_it_to_keeping() -> None:
    given(retention, advert("2026-01-05"), advert("2026-02-05"), order("2026-03-10"), order("2026-01-10", "o-0")).then(
        "2026-01+000", cost_to_acquire={"EUR": 0.5}, cost_to_keep={}
    ).then("2026-01+001", cost_to_keep={"EUR": 0.5})


def test_what_went_to_people_who_never_bought_is_told_too() -> None:
    shown = happened(AdvertShown(campaign="spring", cost=0.004), at="2026-01-05")
    given(retention, shown, done("2026-02-01")).then(
        "prospects", customers=1, cost_to_acquire={"USD": 0.004}, follow_ups_to_acquire=1, active_share=None
    )


def test_follow_ups_are_counted_and_not_priced() -> None:
    given(
        retention, done("2026-01-05"), order("2026-01-10"), done("2026-01-12"), done("2026-02-12"), done("2026-01-06")
    ).then("2026-01+000", follow_ups_to_acquire=2, follow_ups_to_keep=1, cost_to_keep={}).then(
        "2026-01+001", follow_ups_to_keep=1
    )


def test_campaign_costs_of_no_account_stand_beside_their_month() -> None:
    starts = moment("2026-01-01")
    report = CampaignSpendReported(campaign="tv", spend=1000, currency="EUR", starts=starts, ends=moment("2026-02-01"))
    told = given(retention, order("2026-01-10"), happened(report, at="2026-02-03", subject="acc-9"))
    told.then("2026-01+000", campaign_spend={"EUR": 1000.0}, cost_to_acquire={}, customers=1)
    far = CampaignSpendReported(campaign="tv", spend=1, starts=moment("2030-01-01"))
    told.when(happened(far, at="2026-02-03", subject="acc-9")).then("2030-01+000", customers=0, active_share=None)
    assert len(told.rows) == 2


def test_a_customer_is_followed_for_ten_years() -> None:
    orders = [order(f"{year}-{month:02}-10", f"o {year} {month}") for year in range(2010, 2026) for month in (1, 5, 9)]
    row = given(customer_months, *orders).rows["acc-1"]
    assert (row.cohort, row.first_at) == ("2010-01", moment("2010-01-10"))
    assert len(row.months) == 30
    adverts = [advert(f"{year}-{month:02}-10") for year in range(1990, 2026) for month in range(1, 13)]
    row = given(customer_months, *adverts).rows["acc-1"]
    assert len(row.months) == 240
    assert sum(month.costs["EUR"] for month in row.months.values()) == 500_000 * len(adverts)


def test_months_are_counted_over_the_turn_of_a_year() -> None:
    assert month_of(moment("2026-01-01T00:30+01:00")) == "2025-12"
    assert months_between("2025-11", "2026-02") == 3


STORIES = st.lists(
    st.tuples(st.sampled_from("cxo"), st.integers(1, 9), st.sampled_from(["o-1", "o-2", "o-3", "o-4"])), max_size=25
)


@for_all(STORIES)
def test_value_and_costs_are_those_of_the_events(story: list[tuple[str, int, str]]) -> None:
    told = given(retention)
    for number, (kind, month, name) in enumerate(story):
        at = f"2026-{month:02}-10"
        if kind == "o":
            told.when(order(at, name))
        elif kind == "x":
            told.when(happened(OrderCancelled(order_id=name, currency="EUR"), at=at))
        else:
            told.when(advert(at, id=f"{number}"))
    rows = told.rows.values()
    placed = {name for kind, _, name in story if kind == "o"} - {name for kind, _, name in story if kind == "x"}
    assert sum(row.value.get("EUR", 0) for row in rows) == 40 * len(placed)
    spent = sum(row.cost_to_acquire.get("EUR", 0) + row.cost_to_keep.get("EUR", 0) for row in rows)
    assert spent == 0.5 * sum(kind == "c" for kind, _, _ in story)
    assert all(0 <= row.active <= row.customers for row in rows if row.cohort != "prospects")
