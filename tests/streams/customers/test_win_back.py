"""A lapsed customer is won back once, by their own rhythm."""

from datetime import date, timedelta

from hypothesis import given as for_all
from hypothesis import strategies as st

from engage.events.catalogue.commerce import OrderCompleted
from engage.events.catalogue.consent import ConsentGiven
from engage.testing.events import happened
from engage.testing.rules import given, requested, skipped
from streams.customers.win_back import rule

CONSENT = happened(ConsentGiven(channel="email", purpose="marketing"), at="2024-01-01")


def bought(at, **more):
    return happened(OrderCompleted(order_id=f"o-{at}", total=20.0), at=at, **more)


def test_a_lapsed_customer_is_won_back_once():
    (
        given(rule, CONSENT, bought("2026-01-01"), bought("2026-01-31"), bought("2026-03-02"))
        .when(time="2026-05-30T23:59")
        .then_nothing()
        .when(time="2026-05-31")
        .then(
            requested(
                "win back",
                about="lapse",
                purpose="marketing",
                channels=["email"],
                why="They bought about every 30 days and have not bought for 90 days, since 2026-03-02.",
                expires="2026-06-30",
            )
        )
        .when(time="2028-01-01")
        .then_nothing()
    )


def test_a_new_order_arms_it_again():
    (
        given(rule, CONSENT, bought("2026-01-01"), bought("2026-01-11"))
        .when(time="2026-03-12")
        .then(requested("win back"))
        .when(bought("2026-04-01"), time="2026-04-30")
        .then_nothing()
        .when(time="2026-12-01")
        .then(requested("win back", about="lapse"))
    )


def test_an_order_in_time_is_no_lapse():
    (
        given(rule, CONSENT, *(bought(f"2026-{month:02}-01") for month in range(1, 13)))
        .then_nothing()
        .when(time="2027-02-15")
        .then_nothing()
    )


def test_who_bought_on_one_day_only_has_no_rhythm():
    (
        given(rule, CONSENT, bought("2026-01-01T09:00"), bought("2026-01-01T17:00"))
        .when(time="2028-01-01")
        .then_nothing()
    )


def test_a_frequent_buyer_is_left_in_peace_for_sixty_days():
    (
        given(rule, CONSENT, bought("2026-01-01"), bought("2026-01-02"))
        .when(time="2026-03-02T23:00")
        .then_nothing()
        .when(time="2026-03-03")
        .then(requested("win back"))
    )


def test_a_rare_buyer_is_not_waited_for_longer_than_a_year():
    (
        given(rule, CONSENT, bought("2024-01-02"), bought("2025-01-01"))
        .when(time="2025-12-31T23:00")
        .then_nothing()
        .when(time="2026-01-01")
        .then(requested("win back"))
    )


def test_without_consent_to_marketing_nobody_is_invited():
    (
        given(rule, bought("2026-01-01"), bought("2026-01-11"))
        .when(time="2026-04-01")
        .then(skipped("win back", reason="consent", about="lapse"))
    )


def test_an_old_order_that_we_learn_of_late_is_no_reason_to_ask_again():
    (
        given(rule, CONSENT, bought("2026-01-01"), bought("2026-01-11"))
        .when(time="2026-03-12")
        .then(requested("win back"))
        .when(bought("2026-01-05", recorded="2026-03-13"), time="2027-01-01")
        .then_nothing()
    )


@for_all(st.lists(st.integers(0, 800), min_size=1, max_size=30), st.randoms())
def test_the_rhythm_does_not_depend_on_the_order_in_which_we_learn_of_orders(days, random):
    start = date(2024, 1, 2)
    orders = [bought(str(start + timedelta(days=day)), recorded="2027-01-01") for day in days]
    shuffled = random.sample(orders, len(orders))
    told = [
        [decision.data.why if hasattr(decision.data, "why") else decision.data.reason for decision in story.decisions]
        for story in (given(rule, CONSENT, *each).when(time="2029-01-01") for each in (orders, shuffled))
    ]
    assert told[0] == told[1]
    assert len(told[0]) == (len(set(days)) > 1)
