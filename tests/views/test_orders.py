"""An account's orders are counted once and at what they left behind, in whatever order they are told."""

from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engage.events.catalogue.commerce import (
    ChargebackReceived,
    OrderCancelled,
    OrderCompleted,
    OrderRefunded,
    OrderUpdated,
)
from engage.testing.events import happened, moment
from engage.views.orders import KEPT, booked

PLACED = happened(OrderCompleted(order_id="o", total=100), at="2026-03-01")
CHANGED = happened(OrderUpdated(order_id="o", total=80), at="2026-03-02")
REFUNDED = happened(OrderRefunded(order_id="o", total=30), at="2026-03-03")
CANCELLED = happened(OrderCancelled(order_id="o"), at="2026-03-04")


def after(*events):
    orders = {}
    for event in events:
        booked(orders, event)
    return orders["o"]


@pytest.mark.parametrize("story", list(permutations([PLACED, CHANGED, REFUNDED])))
def test_what_is_left_of_an_order_does_not_depend_on_what_is_told_first(story):
    order = after(*story)
    assert (order.net, order.counts, order.at) == (5_000, True, moment("2026-03-01"))


@pytest.mark.parametrize("story", list(permutations([PLACED, REFUNDED, CANCELLED])))
def test_a_cancelled_order_does_not_count(story):
    order = after(*story)
    assert (order.net, order.counts) == (0, False)


def test_an_order_that_is_told_twice_is_one():
    again = happened(OrderCompleted(order_id="o", total=100), at="2026-03-01", id="again")
    assert after(PLACED, again).net == 10_000


def test_no_more_goes_back_than_was_paid():
    charged = happened(ChargebackReceived(order_id="o", total=100), at="2026-03-05")
    order = after(PLACED, REFUNDED, charged, charged)
    assert (order.net, order.counts) == (0, False)


def test_a_refund_in_another_currency_takes_nothing_away():
    other = happened(OrderRefunded(order_id="o", total=30, currency="EUR"), at="2026-03-03")
    assert after(PLACED, other).net == after(other, PLACED).net == 10_000


def test_an_order_for_nothing_counts():
    order = after(happened(OrderCompleted(order_id="o", total=0), at="2026-03-01"))
    assert (order.net, order.counts) == (0, True)


def test_what_was_only_heard_of_does_not_count():
    assert not after(REFUNDED).counts
    assert not after(CHANGED).counts


@given(st.lists(st.integers(0, 400), max_size=60))
def test_the_newest_are_remembered_and_what_changes_adds_up(days):
    orders, count, value = {}, 0, 0
    for number, day in enumerate(days):
        event = happened(
            OrderCompleted(order_id=f"o-{number}", total=1 + day), at=moment("2026-01-01") + timedelta(days=day)
        )
        change = booked(orders, event)
        count += change.after.counts - (change.before is not None and change.before.counts)
        value += change.after.net - (change.before.net if change.before else 0)
    assert count == len(days)
    assert value == sum(100 * (1 + day) for day in days)
    assert len(orders) == min(len(days), KEPT)
