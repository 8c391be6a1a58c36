"""A promoter who has ordered is asked to bring somebody along, and then not for half a year."""

import pytest

from engage.events.catalogue.commerce import OrderCompleted
from engage.events.catalogue.consent import ConsentGiven
from engage.events.catalogue.loyalty import ReferralMade
from engage.events.catalogue.surveys import SurveyAnswered
from engage.testing.events import happened
from engage.testing.rules import given, requested, skipped
from streams.customers.referral_ask import rule

CONSENT = happened(ConsentGiven(channel="email", purpose="marketing"), at="2024-01-01")
ORDER = happened(OrderCompleted(order_id="o-1", total=20.0), at="2025-01-01")


def answered(score, at, kind="nps", **more):
    return happened(SurveyAnswered(survey_id=f"s-{at}", kind=kind, score=score), at=at, **more)


def test_a_promoter_is_asked_a_day_after_their_answer():
    (
        given(rule, CONSENT, ORDER, answered(9, "2026-03-01"))
        .when(time="2026-03-01T23:59")
        .then_nothing()
        .when(time="2026-03-02")
        .then(
            requested(
                "referral ask",
                about="referral",
                purpose="marketing",
                channels=["email"],
                priority="low",
                why="They gave us one of the best marks on 2026-03-01 and have bought from us.",
                expires="2026-03-16",
            )
        )
    )


def test_who_is_fully_satisfied_is_asked_too():
    given(rule, CONSENT, ORDER, answered(5, "2026-03-01", "csat")).when(time="2026-03-05").then(
        requested("referral ask")
    )


@pytest.mark.parametrize(("score", "kind"), [(8, "nps"), (0, "nps"), (4, "csat"), (1, "csat")])
def test_who_is_not_delighted_is_not_asked(score, kind):
    given(rule, CONSENT, ORDER, answered(score, "2026-03-01", kind)).when(time="2026-12-01").then_nothing()


def test_who_never_ordered_is_not_asked():
    given(rule, CONSENT, answered(10, "2026-03-01")).when(time="2026-12-01").then_nothing()


def test_an_order_that_we_learn_of_after_the_answer_counts():
    (
        given(
            rule,
            CONSENT,
            answered(10, "2026-03-01"),
            happened(OrderCompleted(order_id="o-1", total=20.0), at="2026-02-01", recorded="2026-03-01T12:00"),
        )
        .when(time="2026-03-05")
        .then(requested("referral ask"))
    )


def test_nobody_is_asked_again_within_half_a_year():
    (
        given(rule, CONSENT, ORDER, answered(10, "2026-03-01"))
        .when(time="2026-03-05")
        .then(requested("referral ask"))
        .when(answered(10, "2026-05-01"), answered(10, "2026-08-27"), time="2026-08-28T23:59")
        .then_nothing()
        .when(answered(10, "2026-08-29"), time="2026-09-10")
        .then(requested("referral ask"))
    )


def test_who_brought_somebody_along_unasked_is_left_alone():
    (
        given(
            rule,
            CONSENT,
            ORDER,
            happened(ReferralMade(referral_id="r-1"), at="2026-02-01"),
            answered(10, "2026-03-01"),
        )
        .when(time="2026-07-01")
        .then_nothing()
    )


def test_who_takes_it_back_before_we_ask_is_not_asked():
    given(rule, CONSENT, ORDER, answered(10, "2026-03-01"), answered(3, "2026-03-01T12:00")).when(
        time="2026-12-01"
    ).then_nothing()


def test_an_older_complaint_that_we_learn_of_late_does_not_overrule_their_newest_word():
    (
        given(rule, CONSENT, ORDER, answered(10, "2026-03-01"), answered(3, "2026-02-01", recorded="2026-03-01T12:00"))
        .when(time="2026-03-05")
        .then(requested("referral ask"))
    )


def test_an_answer_that_we_learn_of_a_month_later_is_no_occasion_any_more():
    (
        given(rule, CONSENT, ORDER, answered(10, "2026-03-01", recorded="2026-04-01"))
        .when(time="2026-05-01")
        .then(skipped("referral ask", reason="stale"))
    )


def test_without_consent_to_marketing_nobody_is_asked():
    given(rule, ORDER, answered(10, "2026-03-01")).when(time="2026-05-01").then(
        skipped("referral ask", reason="consent", about="referral")
    )
