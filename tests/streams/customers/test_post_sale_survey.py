"""A delivered order is surveyed once, a few days later, unless they told us already."""

from engage.events.catalogue.commerce import OrderDelivered
from engage.events.catalogue.consent import ConsentWithdrawn
from engage.events.catalogue.surveys import ReviewPosted, SurveyAnswered, SurveyDeclined, SurveySent
from engage.testing.events import happened
from engage.testing.rules import given, requested, skipped
from streams.customers.post_sale_survey import rule


def delivered(order, at, **more):
    return happened(OrderDelivered(order_id=order), at=at, **more)


def answered(order, at, **more):
    return happened(SurveyAnswered(survey_id="s-1", kind="csat", score=5, order_id=order), at=at, **more)


def test_a_delivered_order_is_surveyed_three_days_later():
    (
        given(rule, delivered("o-1", "2026-03-01"))
        .when(time="2026-03-03T23:59")
        .then_nothing()
        .when(time="2026-03-04")
        .then(
            requested(
                "post-sale survey",
                about="o-1",
                purpose="research",
                channels=["email"],
                priority="low",
                why="Order o-1 was delivered 3 days ago and they have not said how it went.",
                due="2026-03-06",
                expires="2026-03-18",
            )
        )
    )


def test_an_order_reported_delivered_twice_is_surveyed_once():
    (
        given(rule, delivered("o-1", "2026-03-01"), delivered("o-1", "2026-03-02", id="again"))
        .when(time="2026-03-30")
        .then(requested("post-sale survey", about="o-1"))
        .when(delivered("o-1", "2026-12-01"), time="2026-12-30")
        .then_nothing()
    )


def test_who_answered_declined_or_reviewed_is_not_surveyed():
    for told in (
        answered("o-1", "2026-03-02"),
        happened(SurveyDeclined(survey_id="s-1", order_id="o-1"), at="2026-03-02"),
        happened(ReviewPosted(product_id="cd-1", rating=5, order_id="o-1"), at="2026-03-02"),
    ):
        given(rule, delivered("o-1", "2026-03-01"), told).when(time="2026-04-01").then_nothing()


def test_an_answer_to_another_survey_does_not_count():
    (
        given(rule, delivered("o-1", "2026-03-01"), answered("o-0", "2026-03-02"), answered(None, "2026-03-02"))
        .when(time="2026-04-01")
        .then(requested("post-sale survey", about="o-1"))
    )


def test_an_answer_that_the_log_learned_of_before_the_delivery_counts():
    (
        given(rule, answered("o-1", "2026-03-02"), delivered("o-1", "2026-03-01", recorded="2026-03-02T01:00"))
        .when(time="2026-04-01")
        .then_nothing()
    )


def test_nobody_is_asked_again_within_ninety_days():
    (
        given(rule, delivered("o-1", "2026-03-01"), delivered("o-2", "2026-03-01"))
        .when(time="2026-03-10")
        .then(requested("post-sale survey", about="o-1"))
        .when(delivered("o-3", "2026-05-29"), time="2026-06-01T23:00")
        .then_nothing()
        .when(delivered("o-4", "2026-06-02"), time="2026-06-10")
        .then(requested("post-sale survey", about="o-4"))
    )


def test_a_survey_that_somebody_else_sent_counts_for_the_rest():
    (
        given(rule, happened(SurveySent(survey_id="s-9", kind="nps"), at="2026-02-01"), delivered("o-1", "2026-03-01"))
        .when(time="2026-04-01")
        .then_nothing()
    )


def test_who_withdrew_consent_to_research_is_not_surveyed():
    (
        given(
            rule,
            happened(ConsentWithdrawn(channel="email", purpose="research"), at="2026-02-01"),
            delivered("o-1", "2026-03-01"),
        )
        .when(time="2026-04-01")
        .then(skipped("post-sale survey", reason="consent", about="o-1"))
    )


def test_a_delivery_that_we_learn_of_weeks_later_is_not_surveyed():
    (
        given(rule, delivered("o-1", "2026-03-01", recorded="2026-03-20"))
        .when(time="2026-04-01")
        .then(skipped("post-sale survey", reason="stale", about="o-1"))
    )


def test_accounts_do_not_share_a_rest():
    (
        given(rule, delivered("o-1", "2026-03-01"), delivered("o-2", "2026-03-01", subject="acc-2"))
        .when(time="2026-04-01")
        .then(
            requested("post-sale survey", about="o-1", account="acc-1"),
            requested("post-sale survey", about="o-2", account="acc-2"),
        )
    )
