"""A new customer is welcomed once, and shown a tutorial unless they found one."""

import pytest

from engage.events.catalogue.commerce import OrderCompleted
from engage.events.catalogue.consent import ConsentGiven, ConsentWithdrawn
from engage.events.catalogue.tutorials import TutorialCompleted, TutorialStarted, TutorialStepCompleted
from engage.events.catalogue.web import SignedUp
from engage.testing.events import happened
from engage.testing.rules import given, requested, skipped
from streams.customers.welcome import rule


def signed_up(at, **more):
    return happened(SignedUp(), at=at, **more)


def bought(at, order="o-1", **more):
    return happened(OrderCompleted(order_id=order, total=20.0), at=at, **more)


def test_who_signs_up_is_welcomed_at_once_and_offered_a_tutorial_five_days_later():
    (
        given(rule, happened(ConsentGiven(channel="email", purpose="marketing"), at="2026-02-01"))
        .when(signed_up("2026-03-01"))
        .then(
            requested(
                "welcome",
                about="welcome",
                purpose="service",
                channels=["email"],
                why="They signed up on 2026-03-01.",
                due="2026-03-01T04:00",
                expires="2026-03-08",
            )
        )
        .when(time="2026-03-05T23:59")
        .then_nothing()
        .when(time="2026-03-06")
        .then(
            requested(
                "tutorial offer",
                about="tutorial",
                priority="low",
                why="They came 5 days ago and have not started a tutorial.",
                expires="2026-03-27",
            )
        )
        .when(time="2027-03-06")
        .then_nothing()
    )


def test_a_first_order_is_welcomed_and_a_second_is_not():
    (
        given(rule)
        .when(bought("2026-03-01"))
        .then(requested("welcome", why="They placed their first order, o-1, on 2026-03-01."))
        .when(bought("2026-03-01T01:00", "o-2"))
        .then_nothing()
    )


def test_who_was_welcomed_on_signing_up_is_not_welcomed_to_their_first_order():
    (
        given(rule)
        .when(signed_up("2026-03-01"))
        .then(requested("welcome"))
        .when(bought("2026-03-02"), signed_up("2026-03-02T01:00", id="again"))
        .then_nothing()
    )


def test_a_sign_up_that_we_learn_of_after_the_first_order_is_no_second_welcome():
    (
        given(rule)
        .when(bought("2026-03-02"))
        .then(requested("welcome"))
        .when(signed_up("2026-03-01", recorded="2026-03-03"))
        .then_nothing()
    )


@pytest.mark.parametrize(
    "found",
    [
        TutorialStarted(tutorial_id="tut-1"),
        TutorialStepCompleted(tutorial_id="tut-1", step=1),
        TutorialCompleted(tutorial_id="tut-1"),
    ],
)
def test_who_found_a_tutorial_is_not_offered_one(found):
    (
        given(rule)
        .when(signed_up("2026-03-01"), happened(found, at="2026-03-03"), time="2026-06-01")
        .then(requested("welcome"))
    )
    (
        given(rule, happened(found, at="2026-02-28"))
        .when(signed_up("2026-03-01"), time="2026-06-01")
        .then(requested("welcome"))
    )


def test_a_first_order_that_we_learn_of_weeks_later_is_not_welcomed():
    (
        given(rule)
        .when(bought("2026-01-01", recorded="2026-03-01"), time="2026-06-01")
        .then(skipped("welcome", reason="stale"), skipped("tutorial offer", reason="stale"))
    )


def test_who_wants_no_letters_about_our_service_gets_none():
    (
        given(rule, happened(ConsentWithdrawn(channel="email", purpose="service"), at="2026-02-01"))
        .when(bought("2026-03-01"), time="2026-03-10")
        .then(skipped("welcome", reason="consent"), skipped("tutorial offer", reason="consent"))
    )


def test_each_account_is_welcomed_for_itself():
    (
        given(rule)
        .when(signed_up("2026-03-01"), signed_up("2026-03-01", subject="acc-2"))
        .then(requested("welcome", account="acc-1"), requested("welcome", account="acc-2"))
    )
