"""The manager hears at once of somebody who was let down, once per answer and matter."""

import pytest

from engage.events.catalogue.follow_up import FollowUpCompleted
from engage.events.catalogue.support import ChatRated, TicketRated
from engage.events.catalogue.surveys import ReviewPosted, SurveyAnswered
from engage.testing.events import happened
from engage.testing.rules import given, requested, skipped
from streams.customers.detractor_recovery import rule


def answered(score, at="2026-03-01", kind="nps", survey="s-1", order=None, **more):
    return happened(SurveyAnswered(survey_id=survey, kind=kind, score=score, order_id=order), at=at, **more)


def reviewed(rating, at="2026-03-01", product="cd-1", order=None, **more):
    return happened(ReviewPosted(product_id=product, rating=rating, order_id=order), at=at, **more)


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (answered(6), "They gave 6 of 10 in the NPS survey s-1, about us."),
        (answered(0, order="o-1"), "They gave 0 of 10 in the NPS survey s-1, about order o-1."),
        (answered(2, kind="csat", order="o-1"), "They gave 2 of 5 in the CSAT survey s-1, about order o-1."),
        (reviewed(2.0), "They reviewed product cd-1 with 2 of 5 stars, for all to read."),
        (
            happened(TicketRated(ticket_id="t-1", score=1), at="2026-03-01"),
            "They rated the help in ticket t-1 with 1 of 5.",
        ),
        (
            happened(ChatRated(chat_id="ch-1", score=2), at="2026-03-01"),
            "They rated the help in chat ch-1 with 2 of 5.",
        ),
    ],
)
def test_who_was_let_down_is_the_managers_most_urgent_matter(event, why):
    (
        given(rule)
        .when(event)
        .then(
            requested(
                "detractor recovery",
                why=why,
                purpose="service",
                priority="urgent",
                channels=["manager"],
                due="2026-03-01T04:00",
                expires="2026-03-15",
            )
        )
        .when(time="2026-12-01")
        .then_nothing()
    )


@pytest.mark.parametrize(
    "event",
    [
        answered(7),
        answered(3, kind="csat"),
        reviewed(2.5),
        happened(TicketRated(ticket_id="t-1", score=3), at="2026-03-01"),
        happened(ChatRated(chat_id="ch-1", score=3), at="2026-03-01"),
    ],
)
def test_who_is_content_or_indifferent_is_no_detractor(event):
    given(rule).when(event, time="2026-12-01").then_nothing()


def test_an_answer_that_is_corrected_or_reported_twice_is_told_once():
    (
        given(rule)
        .when(answered(3))
        .then(requested("detractor recovery", about="survey s-1"))
        .when(answered(2, "2026-03-02"), answered(3, "2026-06-01", id="again"))
        .then_nothing()
    )


def test_an_order_complained_of_in_a_survey_and_a_review_is_one_matter_while_it_is_open():
    story = given(rule).when(answered(1, kind="csat", order="o-1"))
    story.then(requested("detractor recovery"))
    follow_up = story.decisions[0].id
    (
        story.when(reviewed(1, "2026-03-02", order="o-1"))
        .then(skipped("detractor recovery", reason="duplicate"))
        .when(happened(FollowUpCompleted(follow_up_id=follow_up, outcome="reached"), at="2026-03-03"))
        .when(reviewed(1, "2026-03-04", product="cd-2", order="o-1"))
        .then(requested("detractor recovery", about="review cd-2"))
    )


def test_two_orders_are_two_matters():
    (
        given(rule)
        .when(
            answered(1, kind="csat", order="o-1"),
            answered(1, "2026-03-01T01:00", kind="csat", survey="s-2", order="o-2"),
        )
        .then(
            requested("detractor recovery", about="survey s-1"),
            requested("detractor recovery", about="survey s-2"),
        )
    )


def test_a_complaint_that_we_learn_of_a_month_later_comes_too_late():
    (
        given(rule)
        .when(answered(1, recorded="2026-04-01"))
        .then(skipped("detractor recovery", reason="stale", about="survey s-1"))
    )


def test_the_longest_ids_are_taken():
    (
        given(rule)
        .when(reviewed(1, product="x" * 256, order="y" * 256))
        .then(requested("detractor recovery", about=f"review {'x' * 256}"[:200]))
    )


def test_of_a_thousand_complaints_the_latest_thirty_are_remembered():
    story = given(rule, *(answered(1, f"2026-03-01T{n // 60:02}:{n % 60:02}", survey=f"s-{n}") for n in range(1_000)))
    assert story.state(rule).told == [f"survey s-{n}" for n in range(970, 1_000)]
