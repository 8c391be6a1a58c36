"""How often an account was reached in each channel, and how often it responded."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from engage.events.catalogue.advertising import AdvertClicked, AdvertShown
from engage.events.catalogue.commerce import ProductAdded, ProductViewed
from engage.events.catalogue.newsletters import (
    NewsletterBounced,
    NewsletterClicked,
    NewsletterDelivered,
    NewsletterOpened,
    NewsletterSent,
)
from engage.events.catalogue.surveys import SurveyAnswered, SurveySent
from engage.events.catalogue.tutorials import TutorialCompleted, TutorialStarted
from engage.events.catalogue.video import VideoCompleted, VideoStarted
from engage.events.catalogue.web import PageViewed
from engage.testing.events import happened, moment
from engage.testing.projections import given
from projections.customers.engagement import REMEMBERED, engagement


def sent(issue: str, at: str = "2026-03-01", **how: Any) -> Any:
    return happened(NewsletterSent(newsletter_id=issue), at=at, **how)


def opened(issue: str, at: str = "2026-03-02", **how: Any) -> Any:
    return happened(NewsletterOpened(newsletter_id=issue), at=at, **how)


def test_an_issue_opened_three_times_was_opened() -> None:
    clicked = happened(NewsletterClicked(newsletter_id="n-1", link="/music"), at="2026-03-04")
    (
        given(engagement, sent("n-1"), opened("n-1"), opened("n-1", "2026-03-03"), clicked)
        .then("acc-1|newsletters", account="acc-1", channel="newsletters", reached=1, responded=1, rate=1.0)
        .then("acc-1|newsletters", last_reached=moment("2026-03-01"), last_responded=moment("2026-03-04"))
    )


def test_an_issue_opened_before_we_hear_that_it_was_sent_is_one_issue() -> None:
    given(engagement, opened("n-1"), sent("n-1", recorded="2026-03-05")).then(
        "acc-1|newsletters", reached=1, responded=1
    )


def test_an_issue_that_came_back_reached_nobody_until_it_arrives_after_all() -> None:
    back = happened(NewsletterBounced(newsletter_id="n-1", bounce="soft"), at="2026-03-01T01:00")
    arrived = happened(NewsletterDelivered(newsletter_id="n-1"), at="2026-03-01T05:00")
    (
        given(engagement, sent("n-1"), back, back)
        .then("acc-1|newsletters", reached=0, rate=None, recent=0.0)
        .when(arrived)
        .then("acc-1|newsletters", reached=1, responded=0, rate=0.0)
    )
    given(engagement, back, sent("n-1")).then("acc-1|newsletters", reached=0, rate=None)


def test_a_response_counts_when_it_was_reached_and_old_ones_fade() -> None:
    row = given(engagement, sent("n-1", "2026-01-01"), opened("n-1", "2026-01-02"), sent("n-2", "2026-03-02")).rows[
        "acc-1|newsletters"
    ]
    assert row.rate == pytest.approx(0.5 / 1.5)
    assert row.recent == pytest.approx(1.5)


def test_adverts_of_a_campaign_reach_somebody_once_a_day() -> None:
    shown = [happened(AdvertShown(campaign="c-1"), at=f"2026-03-01T{hour:02}:00") for hour in range(10)]
    (
        given(engagement, *shown, happened(AdvertClicked(campaign="c-1"), at="2026-03-01T12:00"))
        .when(happened(AdvertShown(campaign="c-1"), at="2026-03-02"))
        .then("acc-1|ads", reached=2, responded=1)
    )


def test_a_visit_is_a_day_and_to_do_something_responds() -> None:
    looked = [happened(PageViewed(url="/"), at=f"2026-03-01T{hour:02}:00") for hour in range(5)]
    added = happened(ProductAdded(product_id="p-1"), at="2026-03-01T07:00")
    late = happened(ProductViewed(product_id="p-1"), at="2026-03-01T23:30-05:00", recorded="2026-03-03")
    given(engagement, *looked, added, added, late).then("acc-1|site", reached=2, responded=1)


def test_the_same_video_a_month_later_is_watched_again() -> None:
    first = (
        happened(VideoStarted(video_id="v"), at="2026-01-01"),
        happened(VideoCompleted(video_id="v"), at="2026-01-01"),
    )
    again = happened(VideoStarted(video_id="v"), at="2026-03-01")
    given(engagement, *first, *first).then("acc-1|videos", reached=1, responded=1).when(again).then(
        "acc-1|videos", reached=2, responded=1
    )


def test_a_tutorial_that_takes_months_is_one_tutorial() -> None:
    done = happened(TutorialCompleted(tutorial_id="t"), at="2026-03-01")
    given(engagement, happened(TutorialStarted(tutorial_id="t"), at="2026-01-01"), done).then(
        "acc-1|tutorials", reached=1, responded=1
    )


def test_a_survey_is_asked_of_each_order() -> None:
    asked = [happened(SurveySent(survey_id="s", kind="csat", order_id=order), at="2026-03-01") for order in "ab"]
    answer = SurveyAnswered(survey_id="s", kind="csat", score=4, order_id="b")
    corrected = SurveyAnswered(survey_id="s", kind="csat", score=5, order_id="b")
    given(engagement, *asked, happened(answer, at="2026-03-02"), happened(corrected, at="2026-03-03")).then(
        "acc-1|surveys", reached=2, responded=1, rate=0.5
    )


def test_each_channel_and_account_has_a_row_of_its_own() -> None:
    other = happened(PageViewed(url="/"), at="2026-03-01", subject="acc-2")
    assert set(given(engagement, sent("n-1"), other).rows) == {"acc-1|newsletters", "acc-2|site"}


def test_a_row_does_not_grow_for_ever() -> None:
    row = given(engagement, *(sent(f"n-{n}", f"2026-03-01T{n % 24:02}:{n // 24:02}") for n in range(100))).rows[
        "acc-1|newsletters"
    ]
    assert (row.reached, len(row.things)) == (100, REMEMBERED)


ISSUES = st.sampled_from(["n-1", "n-2", "n-3"])
HAPPENINGS = st.one_of(
    st.builds(NewsletterSent, newsletter_id=ISSUES),
    st.builds(NewsletterDelivered, newsletter_id=ISSUES),
    st.builds(NewsletterBounced, newsletter_id=ISSUES),
    st.builds(NewsletterOpened, newsletter_id=ISSUES),
)


@for_all(st.lists(st.tuples(HAPPENINGS, st.integers(0, 400)), min_size=1, max_size=30))
def test_nobody_responds_more_often_than_reached(told: list[tuple[Any, int]]) -> None:
    events = [
        happened(data, at=moment("2026-01-01") + timedelta(days=day), recorded="2028-01-01") for data, day in told
    ]
    row = given(engagement, *events).rows["acc-1|newsletters"]
    assert 0 <= row.responded <= row.reached <= 3
    assert row.rate is None if row.reached == 0 else row.rate is not None and 0 <= row.rate <= 1
    assert row.responded == len({one.newsletter_id for one, _ in told if isinstance(one, NewsletterOpened)})
