"""Money that went back is followed by a word, and a chargeback by the manager's call."""

import pytest

from engage.events.catalogue.commerce import ChargebackReceived, OrderRefunded
from engage.events.catalogue.consent import ConsentWithdrawn
from engage.testing.events import happened
from engage.testing.rules import given, requested, skipped
from streams.customers.refund_repair import rule


def refunded(total, at="2026-03-01", order="o-1", reason=None, **more):
    return happened(OrderRefunded(order_id=order, total=total, reason=reason), at=at, **more)


def charged_back(total, at="2026-03-01", order="o-1", reason=None, **more):
    return happened(ChargebackReceived(order_id=order, total=total, reason=reason), at=at, **more)


@pytest.mark.parametrize(
    ("total", "channel", "priority"), [(99.99, "email", "normal"), (100, "manager", "high"), (0.01, "email", "normal")]
)
def test_a_large_refund_is_the_managers_and_a_small_one_is_answered_by_mail(total, channel, priority):
    (
        given(rule)
        .when(refunded(total, reason="damaged"))
        .then(
            requested(
                "refund repair",
                about="o-1",
                purpose="service",
                channels=[channel],
                priority=priority,
                why=f"{total:.2f} USD of order o-1 went back to them on 2026-03-01 (damaged).",
                due="2026-03-02",
                expires="2026-03-15",
            )
        )
        .when(time="2026-12-01")
        .then_nothing()
    )


def test_a_chargeback_is_urgent_whatever_it_is_worth():
    (
        given(rule)
        .when(charged_back(5, reason="not_received"))
        .then(
            requested(
                "chargeback repair",
                about="o-1",
                priority="urgent",
                channels=["manager"],
                why="Their bank took 5.00 USD of order o-1 back on 2026-03-01 (not_received).",
                due="2026-03-01T08:00",
            )
        )
    )


def test_an_order_refunded_in_parts_is_repaired_once_and_another_order_again():
    (
        given(rule)
        .when(refunded(10), refunded(10, id="again"), refunded(15, "2026-03-02"))
        .then(requested("refund repair", about="o-1"))
        .when(refunded(10, "2026-03-20", order="o-2"), refunded(20, "2026-03-21"))
        .then(requested("refund repair", about="o-2"))
    )


def test_a_chargeback_after_a_refund_is_urgent_all_the_same():
    (
        given(rule)
        .when(refunded(200))
        .then(requested("refund repair"))
        .when(charged_back(200, "2026-03-02"), charged_back(200, "2026-03-03"))
        .then(requested("chargeback repair", priority="urgent"))
    )


def test_a_refund_that_settles_a_chargeback_is_no_new_matter():
    given(rule).when(charged_back(200), refunded(200, "2026-03-10")).then(requested("chargeback repair"))


def test_a_refund_of_nothing_is_none():
    given(rule).when(refunded(0)).then_nothing()


def test_a_refund_that_we_learn_of_weeks_later_is_past_repair():
    given(rule).when(refunded(10, recorded="2026-04-01")).then(skipped("refund repair", reason="stale"))


def test_who_wants_no_letters_about_our_service_gets_none_but_the_manager_still_hears_of_it():
    no = happened(ConsentWithdrawn(channel="email", purpose="service"), at="2026-01-01")
    (
        given(rule, no)
        .when(refunded(10), refunded(150, order="o-2"))
        .then(skipped("refund repair", reason="consent", about="o-1"), requested("refund repair", about="o-2"))
    )


def test_the_longest_order_ids_are_taken_and_the_latest_twenty_remembered():
    orders = [f"{n:03}" + "x" * 253 for n in range(100)]
    story = given(
        rule,
        *(refunded(10, f"2026-03-01T{n // 60:02}:{n % 60:02}", order) for n, order in enumerate(orders)),
        *(charged_back(10, f"2026-03-02T{n // 60:02}:{n % 60:02}", order) for n, order in enumerate(orders)),
    )
    assert story.state(rule).refunded == story.state(rule).charged_back == orders[-20:]
