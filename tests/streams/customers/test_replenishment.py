"""What is bought again and again is reminded of shortly before the next is due, by the customer's own rhythm."""

from datetime import date, timedelta

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from engage.events.catalogue.commerce import OrderCompleted, Product
from engage.events.catalogue.consent import ConsentGiven
from engage.rules.rule import Rule
from engage.testing.events import happened
from engage.testing.rules import given, requested, skipped
from streams.customers.replenishment import Settings, State, rule

CONSENT = happened(ConsentGiven(channel="email", purpose="marketing"), at="2024-01-01")


def bought(at, *products, **more):
    lines = tuple(Product(product_id=product, category="coffee") for product in products or ("beans",))
    return happened(OrderCompleted(order_id=f"o-{at}", total=20.0, products=lines), at=at, **more)


def test_the_third_purchase_makes_a_rhythm_and_the_reminder_comes_before_the_fourth():
    (
        given(rule, CONSENT, bought("2026-01-01"), bought("2026-01-31"), bought("2026-03-02"))
        .when(time="2026-03-28T23:59")
        .then_nothing()
        .when(time="2026-03-29")
        .then(
            requested(
                "replenishment reminder",
                about="beans",
                purpose="marketing",
                channels=["email"],
                priority="low",
                why="They buy beans about every 30 days and last did on 2026-03-02: the next is due on 2026-04-01.",
                due="2026-04-01",
                expires="2026-04-12",
            )
        )
        .when(time="2027-03-01")
        .then_nothing()
    )


def test_a_new_purchase_arms_it_again():
    (
        given(rule, CONSENT, bought("2026-01-01"), bought("2026-01-31"), bought("2026-03-02"))
        .when(time="2026-03-30")
        .then(requested("replenishment reminder"))
        .when(bought("2026-04-01"), time="2026-04-27")
        .then_nothing()
        .when(time="2026-04-28")
        .then(requested("replenishment reminder", about="beans"))
    )


def test_who_buys_sooner_each_time_is_not_reminded():
    orders = [bought(str(date(2026, 1, 1) + timedelta(days=day))) for day in (0, 30, 56, 79, 99)]
    given(rule, CONSENT, *orders).then_nothing()


def test_two_purchases_are_no_rhythm_and_neither_are_three_on_one_day():
    given(rule, CONSENT, bought("2026-01-01"), bought("2026-02-01")).when(time="2027-01-01").then_nothing()
    given(rule, CONSENT, bought("2026-01-01T09:00"), bought("2026-01-01T10:00"), bought("2026-01-01T11:00")).when(
        time="2027-01-01"
    ).then_nothing()


@pytest.mark.parametrize(
    "days",
    [
        (0, 5, 60),  # irregular
        (0, 3, 6),  # oftener than once a week
        (0, 200, 400),  # too seldom
    ],
)
def test_purchases_without_a_rhythm_to_rely_on_are_left_alone(days):
    orders = [bought(str(date(2025, 1, 1) + timedelta(days=day))) for day in days]
    given(rule, CONSENT, *orders).when(time="2027-01-01").then_nothing()


def test_a_purchase_that_breaks_the_rhythm_takes_the_reminder_away():
    (
        given(rule, CONSENT, bought("2026-01-01"), bought("2026-01-31"), bought("2026-03-02"), bought("2026-03-04"))
        .when(time="2027-01-01")
        .then_nothing()
    )


def test_each_product_has_a_rhythm_of_its_own():
    (
        given(
            rule,
            CONSENT,
            bought("2026-01-01", "beans", "filters"),
            bought("2026-01-31", "beans"),
            bought("2026-03-02", "beans", "filters"),
            bought("2026-03-31", "beans"),
            bought("2026-04-30", "beans", "filters"),
            bought("2026-05-01", "mug"),
        )
        .when(time="2026-07-01")
        .then(
            requested("replenishment reminder", about="beans"),
            requested("replenishment reminder", about="filters"),
        )
    )


def test_a_shop_may_count_by_category():
    by_category = Rule(rule.name, version=1, settings=Settings(by="category"), state=State)
    by_category.handlers, by_category.wake_handler = rule.handlers, rule.wake_handler
    (
        given(
            by_category, CONSENT, bought("2026-01-01", "arabica"), bought("2026-01-31", "robusta"), bought("2026-03-02")
        )
        .when(time="2026-04-10")
        .then(requested("replenishment reminder", about="coffee"))
    )


def test_an_old_order_that_we_learn_of_after_the_reminder_is_no_reason_for_another():
    (
        given(rule, CONSENT, bought("2026-01-01"), bought("2026-01-31"), bought("2026-03-02"))
        .when(time="2026-03-30")
        .then(requested("replenishment reminder"))
        .when(bought("2025-12-02", recorded="2026-03-31"), time="2027-01-01")
        .then_nothing()
    )


def test_without_consent_to_marketing_nobody_is_reminded():
    (
        given(rule, bought("2026-01-01"), bought("2026-01-31"), bought("2026-03-02"))
        .when(time="2026-05-01")
        .then(skipped("replenishment reminder", reason="consent", about="beans"))
    )


def test_an_order_without_products_says_nothing():
    orders = [happened(OrderCompleted(order_id=f"o-{n}", total=1.0), at=f"2026-0{n}-01") for n in range(1, 5)]
    assert given(rule, CONSENT, *orders).when(time="2027-01-01").state(rule) == State()


def test_of_a_thousand_products_the_latest_twelve_are_remembered():
    everything = [f"p-{n}" for n in range(1_000)]
    story = given(
        rule, CONSENT, bought("2026-01-01", *everything), bought("2026-02-01", "x" * 256), bought("2026-03-01", "p-990")
    )
    assert list(story.state(rule).goods) == [*(f"p-{n}" for n in range(989, 1_000) if n != 990), "x" * 120, "p-990"]


@for_all(st.lists(st.integers(0, 5), min_size=3, max_size=6), st.randoms())
def test_the_rhythm_does_not_depend_on_the_order_in_which_we_learn_of_purchases(gaps, random):
    days, day = [], date(2026, 1, 1)
    for gap in gaps:
        day += timedelta(days=20 + gap)
        days.append(day)
    orders = [bought(str(day), recorded="2026-08-01") for day in days]
    shuffled = random.sample(orders, len(orders))
    told = [
        [decision.data.detail for decision in story.decisions]
        for story in (given(rule, CONSENT, *each).when(time="2027-01-01") for each in (orders, shuffled))
    ]
    assert told[0] == told[1]
    assert len(told[0]) == 1
