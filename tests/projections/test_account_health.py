"""What moves an account's health, and what it leaves alone."""

from datetime import timedelta
from math import log1p
from typing import Any

import msgspec
import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from engage.events.catalogue.base import EventData
from engage.events.catalogue.commerce import (
    ChargebackReceived,
    OrderCancelled,
    OrderCompleted,
    OrderRefunded,
    OrderUpdated,
    PaymentFailed,
)
from engage.events.catalogue.newsletters import (
    NewsletterClicked,
    NewsletterOpened,
    NewsletterReported,
    NewsletterSent,
    NewsletterUnsubscribed,
)
from engage.events.catalogue.profile import AccountIdentified
from engage.events.catalogue.support import (
    ChatEnded,
    TicketAnswered,
    TicketOpened,
    TicketRated,
    TicketReopened,
    TicketResolved,
)
from engage.events.catalogue.surveys import ReviewPosted, SurveyAnswered
from engage.events.catalogue.tutorials import TutorialCompleted, TutorialStarted, TutorialStepCompleted
from engage.events.catalogue.video import VideoCompleted, VideoProgressed, VideoStarted
from engage.events.catalogue.web import PageViewed
from engage.events.envelope import Event
from engage.testing.events import happened, moment
from engage.testing.projections import given
from projections.shared.account_health import COMPONENTS, AccountHealth, account_health, explain, score_at


def health(*events: Event[Any]) -> AccountHealth:
    return given(account_health, *events).rows["acc-1"]


def order(order_id: str, total: float, at: str) -> Event[Any]:
    return happened(OrderCompleted(order_id=order_id, total=total), at=at)


def near(value: float | None) -> Any:
    assert value is not None
    return pytest.approx(value)


def test_every_component_is_a_column() -> None:
    assert set(COMPONENTS) <= set(AccountHealth.__struct_fields__)


def test_an_account_that_is_only_named_is_unknown() -> None:
    row = health(happened(AccountIdentified(kind="supplier"), at="2026-01-01"))
    assert (row.kind, row.score, row.band, row.confidence) == ("supplier", None, "unknown", 0.0)


def test_partitions_and_markets_have_no_health() -> None:
    ghost = happened(OrderCompleted(order_id="o-1", total=5.0), at="2026-01-01", subject="market:music")
    assert given(account_health, ghost).rows == {}


def test_with_purchases_alone_the_score_is_that_of_purchasing() -> None:
    row = health(order("o-1", 30.0, "2026-01-01"), order("o-2", 12.0, "2026-02-01"))
    bought = log1p(30.0) * 2 ** (-31 / 90) + log1p(12.0)
    assert row.purchasing == pytest.approx(100 * bought / (bought + 10))
    assert row.score == near(row.purchasing)
    assert [name for name in COMPONENTS if getattr(row, name) is not None] == ["purchasing"]


def test_who_buys_more_or_later_ranks_higher() -> None:
    now = moment("2026-06-01")
    histories = [
        health(order("o-1", 10.0, "2026-01-01")),
        health(order("o-1", 20.0, "2026-01-01")),
        health(order("o-1", 20.0, "2026-02-01")),
        health(order("o-1", 20.0, "2026-02-01"), order("o-2", 1.0, "2026-02-02")),
        health(*(order(f"o-{n}", 500.0, "2026-05-31") for n in range(200))),
        health(*(order(f"o-{n}", 500.0, "2026-05-31") for n in range(201))),
    ]
    scores = [score_at(row, now).score or 0.0 for row in histories]
    assert scores == sorted(set(scores))
    assert scores[-1] < 100.0


def test_an_order_that_arrives_late_counts_as_if_it_had_come_in_time() -> None:
    first, second = order("o-1", 30.0, "2026-01-01"), order("o-2", 12.0, "2026-02-01")
    late = happened(OrderCompleted(order_id="o-1", total=30.0), at="2026-01-01", recorded="2026-02-01")
    assert health(second, late).score == near(health(first, second).score)


def test_a_silent_customer_slides_through_the_bands() -> None:
    row = health(*(order(f"o-{week}", 40.0, f"2026-0{1 + week // 4}-{1 + 7 * (week % 4):02}") for week in range(24)))
    bands = [score_at(row, row.as_of + timedelta(days=days)).band for days in (0, 120, 270, 500)]
    assert bands == ["thriving", "steady", "slipping", "at_risk"]


def test_a_moment_before_the_row_is_refused() -> None:
    row = health(order("o-1", 30.0, "2026-01-01"))
    with pytest.raises(ValueError, match="ask for that moment or a later one"):
        score_at(row, moment("2025-12-31"))
    with pytest.raises(ValueError, match="'acc-1'"):
        explain(row, moment("2025-12-31"))


def test_an_order_called_off_was_never_bought() -> None:
    row = health(order("o-1", 30.0, "2026-01-01"), happened(OrderCancelled(order_id="o-1"), at="2026-01-02"))
    assert row.purchasing == pytest.approx(0.0)


def test_an_order_changed_is_worth_its_new_total() -> None:
    changed = happened(OrderUpdated(order_id="o-1", total=12.0), at="2026-01-01T01:00")
    row = health(order("o-1", 30.0, "2026-01-01"), changed)
    assert score_at(row, moment("2026-02-01")).score == near(
        score_at(health(order("o-1", 12.0, "2026-01-01")), moment("2026-02-01")).score
    )


def test_a_refund_takes_from_the_purchase_and_shows_in_payments() -> None:
    back = happened(OrderRefunded(order_id="o-1", total=20.0), at="2026-01-01")
    row = health(order("o-1", 30.0, "2026-01-01"), back)
    assert row.purchasing == near(health(order("o-1", 10.0, "2026-01-01")).purchasing)
    assert row.payments == pytest.approx((100 * 0.5 + 30) / 1.5)


def test_trouble_with_payments_weighs_less_among_many_good_ones() -> None:
    trouble = happened(ChargebackReceived(order_id="o-0", total=9.0), at="2026-01-02")
    one = health(order("o-0", 9.0, "2026-01-01"), trouble).payments
    many = health(*(order(f"o-{n}", 9.0, "2026-01-01") for n in range(20)), trouble).payments
    assert one is not None
    assert many is not None
    assert one < 20 < 70 < many


def test_a_payment_that_goes_through_after_all_is_half_forgiven() -> None:
    failed = happened(PaymentFailed(order_id="o-1"), at="2026-01-01")
    assert health(failed).payments == pytest.approx(20.0)
    assert health(failed, order("o-1", 9.0, "2026-01-01T00:10")).payments == pytest.approx(70.0)


def test_a_newsletter_counts_as_ignored_only_when_the_next_one_goes_out() -> None:
    first = happened(NewsletterSent(newsletter_id="n-1"), at="2026-01-01")
    second = happened(NewsletterSent(newsletter_id="n-2"), at="2026-01-08")
    assert health(first).engagement is None
    assert health(first, second).engagement == 0.0


def test_a_newsletter_that_led_somewhere_is_not_ignored() -> None:
    read = (
        happened(NewsletterSent(newsletter_id="n-1"), at="2026-01-01"),
        happened(NewsletterOpened(newsletter_id="n-1"), at="2026-01-02"),
        happened(NewsletterClicked(newsletter_id="n-1", link="offer"), at="2026-01-02"),
    )
    row = health(*read, happened(NewsletterSent(newsletter_id="n-2"), at="2026-01-02"))
    assert row.engagement == pytest.approx(100 / 3)
    again = health(*read, happened(NewsletterOpened(newsletter_id="n-1"), at="2026-01-02"))
    assert again.engagement == near(row.engagement)


@pytest.mark.parametrize("leaving", [NewsletterUnsubscribed(), NewsletterReported(newsletter_id="n-1")])
def test_to_leave_the_newsletter_lowers_engagement(leaving: EventData) -> None:
    seen = happened(VideoCompleted(video_id="v-1"), at="2026-01-01")
    before, after = health(seen).engagement, health(seen, happened(leaving, at="2026-01-01")).engagement
    assert before is not None
    assert after is not None
    assert after < before


def test_a_video_watched_in_parts_counts_as_one() -> None:
    row = health(
        happened(VideoStarted(video_id="v-1"), at="2026-01-01T10:00"),
        happened(VideoProgressed(video_id="v-1", position=30, length=60), at="2026-01-01T10:01"),
        happened(VideoCompleted(video_id="v-1"), at="2026-01-01T10:02"),
    )
    assert row.engagement == pytest.approx(100 / 3)


def test_a_tutorial_is_worth_more_when_it_is_finished() -> None:
    begun = (
        happened(TutorialStarted(tutorial_id="t-1"), at="2026-01-01T10:00"),
        happened(TutorialStepCompleted(tutorial_id="t-1", step=1), at="2026-01-01T10:05"),
    )
    done = happened(TutorialCompleted(tutorial_id="t-1"), at="2026-01-01T10:10")
    assert health(*begun).engagement == pytest.approx(60 * 1.5 / 3.5)
    assert health(*begun, done).engagement == pytest.approx(100 * 1.5 / 3.5)


def test_a_day_of_browsing_is_one_visit() -> None:
    pages = [happened(PageViewed(url=f"/{hour}"), at=f"2026-01-01T{hour:02}:00") for hour in range(24)]
    assert health(*pages).evidence["engagement"].count == 1


def test_answers_are_read_on_their_own_scales() -> None:
    worst, best = (
        SurveyAnswered(survey_id="s", kind="csat", score=1),
        SurveyAnswered(survey_id="s", kind="nps", score=10),
    )
    assert health(happened(worst, at="2026-01-01")).satisfaction == 0.0
    assert health(happened(best, at="2026-01-01")).satisfaction == 100.0
    assert health(happened(worst, at="2026-01-01"), happened(best, at="2026-01-01")).satisfaction == 50.0


def test_a_changed_review_replaces_the_old_one() -> None:
    posted = [happened(ReviewPosted(product_id="p", review_id="r", rating=stars), at="2026-01-01") for stars in (1, 4)]
    assert health(*posted).satisfaction == pytest.approx(75.0)


def test_support_is_judged_by_the_wait_for_the_first_answer() -> None:
    opened = happened(TicketOpened(ticket_id="t-1"), at="2026-01-01")
    answers = [happened(TicketAnswered(ticket_id="t-1"), at=at) for at in ("2026-01-02", "2026-01-09")]
    assert health(opened).support is None
    assert health(opened, *answers).support == pytest.approx(50.0)


def test_an_urgent_ticket_has_less_time() -> None:
    opened = happened(TicketOpened(ticket_id="t-1", priority="urgent"), at="2026-01-01")
    solved = happened(TicketResolved(ticket_id="t-1"), at="2026-01-01T04:00")
    assert health(opened, solved).support == pytest.approx(50.0)


def test_a_ticket_that_had_to_be_reopened_was_not_well_handled() -> None:
    rated = happened(TicketRated(ticket_id="t-1", score=5), at="2026-01-02")
    again = happened(TicketReopened(ticket_id="t-1"), at="2026-01-02")
    assert health(rated).support == 100.0
    assert health(rated, again).support == pytest.approx(70.0)


def test_a_chat_that_nobody_answered_is_as_bad_as_can_be() -> None:
    assert health(happened(ChatEnded(chat_id="c-1"), at="2026-01-01")).support == 0.0
    assert health(happened(ChatEnded(chat_id="c-1", wait=300), at="2026-01-01")).support == pytest.approx(50.0)


def test_a_score_is_explained_down_to_the_events() -> None:
    bought = order("o-1", 30.0, "2026-01-01")
    complaint = happened(SurveyAnswered(survey_id="s", kind="csat", score=1), at="2026-01-05")
    row = health(bought, complaint)
    purchasing, satisfaction = explain(row, row.as_of)
    assert (purchasing.component, satisfaction.component) == ("purchasing", "satisfaction")
    assert purchasing.weight + satisfaction.weight == pytest.approx(1.0)
    assert purchasing.weight * purchasing.value + satisfaction.weight * satisfaction.value == near(row.score)
    assert [(event.event_id, event.type) for event in purchasing.events] == [(bought.id, "Order Completed")]
    assert satisfaction.events[0].event_id == complaint.id
    assert satisfaction.events[0].contribution == -50.0
    assert satisfaction.words == "What they say of us: poor, 0 of 100"


def test_reasons_name_event_time_type_and_contribution() -> None:
    bought = order("o-1", 30.0, "2026-01-01")
    [reason] = health(bought).reasons["purchasing"]
    assert (reason.event_id, reason.time, reason.type) == (bought.id, bought.time, "Order Completed")
    assert reason.contribution == pytest.approx(100 * log1p(30) / (log1p(30) + 10), abs=0.005)


def test_a_busy_account_keeps_a_small_row() -> None:
    row = health(
        *(order(f"o-{n}", 30.0, f"2026-01-{1 + n % 28:02}") for n in range(300)),
        *(happened(VideoStarted(video_id=f"v-{n}"), at="2026-01-28") for n in range(300)),
    )
    assert row.version == 600
    assert len(msgspec.json.encode(row)) < 4_000


MOMENTS = st.datetimes(
    min_value=moment("2025-01-01").replace(tzinfo=None), max_value=moment("2026-01-01").replace(tzinfo=None)
)
DATA: st.SearchStrategy[EventData] = st.one_of(
    st.builds(OrderCompleted, order_id=st.sampled_from("abc"), total=st.floats(0, 1e6)),
    st.builds(OrderRefunded, order_id=st.sampled_from("abc"), total=st.floats(0, 1e6)),
    st.builds(OrderCancelled, order_id=st.sampled_from("abc")),
    st.builds(PaymentFailed, order_id=st.sampled_from("abc")),
    st.builds(NewsletterSent, newsletter_id=st.sampled_from("abc")),
    st.builds(NewsletterOpened, newsletter_id=st.sampled_from("abc")),
    st.builds(TicketOpened, ticket_id=st.sampled_from("abc")),
    st.builds(TicketAnswered, ticket_id=st.sampled_from("abc")),
    st.builds(ReviewPosted, product_id=st.sampled_from("abc"), rating=st.floats(1, 5)),
    st.builds(PageViewed, url=st.just("/")),
)


@settings(max_examples=150, deadline=None)
@for_all(st.lists(st.tuples(DATA, MOMENTS), min_size=1, max_size=40))
def test_whatever_happens_scores_stay_in_range_and_rows_survive_their_table(
    history: list[tuple[EventData, Any]],
) -> None:
    row = AccountHealth("acc-1")
    for data, at in history:
        event = happened(data, at=at, recorded="2026-01-01")
        row = account_health.folds[event.type](row, event)
        assert all(value is None or 0 <= value <= 100 for value in (getattr(row, name) for name in COMPONENTS))
        assert row.score is None or 0 <= row.score <= 100
        assert 0 <= row.confidence < 1
        row = _through_a_table(row)
    whole = health(*(happened(data, at=at, recorded="2026-01-01") for data, at in history))
    assert row == whole
    assert explain(row, moment("2026-06-01")) == explain(whole, moment("2026-06-01"))


def _through_a_table(row: AccountHealth) -> AccountHealth:
    """The row as a database gives it back: JSON, its keys in another order (as PostgreSQL's JSONB sorts them)."""
    stored = msgspec.json.decode(msgspec.json.encode(row))
    for column in ("reasons", "evidence"):
        stored[column] = dict(sorted(stored[column].items(), key=lambda item: (len(item[0]), item[0])))
    return msgspec.convert(stored, AccountHealth)
