"""The manager hears of a valued customer whose fading spend falls to a quarter of its best, without any event."""

from engage.events.catalogue.commerce import OrderCompleted, OrderRefunded
from engage.testing.events import happened
from engage.testing.rules import given, requested
from streams.customers.valued_customer_slipping import rule


def bought(total, at, currency="USD", **more):
    return happened(OrderCompleted(order_id=f"o-{at}", total=total, currency=currency), at=at, **more)


def refunded(total, at):
    return happened(OrderRefunded(order_id="o-1", total=total), at=at)


def test_the_manager_hears_of_a_valued_customer_two_half_lives_after_their_last_order():
    (
        given(rule, bought(300, "2026-01-01"))
        .when(time="2026-06-29T23:59")
        .then_nothing()
        .when(time="2026-06-30")
        .then(
            requested(
                "valued customer slipping",
                about="USD",
                purpose="service",
                priority="high",
                channels=["manager"],
                why="They spent 300.00 USD with us, and what counts of it today is down to 25% of its best: "
                "nothing since 2026-01-01.",
                due="2026-07-02",
                expires="2026-07-30",
            )
        )
        .when(time="2029-01-01")
        .then_nothing()
    )


def test_who_spent_little_is_not_the_managers_matter():
    given(rule, bought(100, "2026-01-01"), bought(149, "2026-01-02")).when(time="2029-01-01").then_nothing()


def test_an_order_that_keeps_the_level_up_is_no_slipping():
    orders = [bought(100, f"2026-{month:02}-01") for month in range(1, 13)]
    given(rule, *orders).then_nothing().when(time="2027-04-01").then_nothing()


def test_small_orders_do_not_hide_that_a_large_customer_slips():
    (
        given(rule, bought(1_000, "2026-01-01"), *(bought(5, f"2026-{month:02}-01") for month in range(2, 8)))
        .when(time="2026-07-20")
        .then(requested("valued customer slipping"))
    )


def test_once_told_they_are_measured_against_what_they_rise_to_again():
    (
        given(rule, bought(1_000, "2026-01-01"))
        .when(time="2026-08-01")
        .then(requested("valued customer slipping"))
        .when(bought(50, "2026-09-01"), time="2027-01-01")
        .then_nothing()
        .when(time="2027-06-01")
        .then(requested("valued customer slipping", about="USD"))
    )


def test_an_old_order_that_we_learn_of_after_the_manager_was_told_changes_nothing():
    (
        given(rule, bought(1_000, "2026-01-01"))
        .when(time="2026-08-01")
        .then(requested("valued customer slipping"))
        .when(bought(500, "2026-01-05", recorded="2026-08-02"), time="2028-01-01")
        .then_nothing()
    )


def test_money_that_went_back_was_never_spent():
    given(rule, bought(200, "2026-01-01"), bought(100, "2026-01-02"), refunded(100, "2026-01-05")).when(
        time="2028-01-01"
    ).then_nothing()
    given(rule, bought(300, "2026-01-01"), refunded(300, "2026-01-05"), refunded(300, "2026-01-06")).when(
        time="2028-01-01"
    ).then_nothing()


def test_a_refund_that_takes_most_of_it_away_tells_the_manager_at_once():
    (
        given(rule, bought(400, "2025-12-01"), bought(4_000, "2026-01-01"))
        .when(refunded(4_000, "2026-01-05"), time="2026-01-05T01:00")
        .then(requested("valued customer slipping"))
    )


def test_currencies_are_not_added_up():
    (
        given(rule, bought(200, "2026-01-01"), bought(200, "2026-01-01T01:00", "EUR"), bought(100, "2026-01-02", "EUR"))
        .when(time="2028-01-01")
        .then(requested("valued customer slipping", about="EUR"))
    )


def test_free_orders_neither_count_nor_fail():
    given(rule, bought(0, "2026-01-01"), bought(0, "2026-02-01")).when(time="2028-01-01").then_nothing()


def test_orders_out_of_order_come_to_the_same_moment():
    (
        given(rule, bought(150, "2026-02-01"), bought(150, "2026-01-31", recorded="2026-02-01T00:10"))
        .when(time="2026-07-30T23:00")
        .then_nothing()
        .when(time="2026-07-31")
        .then(requested("valued customer slipping"))
    )
