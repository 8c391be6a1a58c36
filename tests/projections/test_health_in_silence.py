"""What time alone does to an account's health: its band moves on its day, its trend shows, and looking is cheap."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from engage.events.catalogue.base import EventData
from engage.events.catalogue.commerce import OrderCompleted
from engage.events.catalogue.deliveries import DeliveryReceived, QualityInspected
from engage.events.catalogue.health import HealthBandCrossed
from engage.events.catalogue.service_levels import RequestAnswered
from engage.events.catalogue.surveys import ReviewPosted, SurveyAnswered
from engage.events.catalogue.video import VideoCompleted
from engage.events.envelope import Event
from engage.testing.events import happened, moment
from engage.testing.projections import given
from engage.views.health import THRIVING
from projections.shared.account_health import (
    AccountHealth,
    account_health,
    looked_at,
    score_at,
    trend_at,
)

DAY = timedelta(days=1)


def order(order_id: str, total: float, at: str) -> Event[Any]:
    return happened(OrderCompleted(order_id=order_id, total=total), at=at)


def health(*events: Event[Any]) -> AccountHealth:
    return given(account_health, *events).rows["acc-1"]


def test_a_silent_customer_falls_on_the_day_and_the_log_hears_of_it() -> None:
    told = given(account_health, *(order(f"o-{day}", 40.0, f"2026-01-{day:02}") for day in range(1, 29)))
    row = told.then("acc-1", band="thriving").rows["acc-1"]
    told.announced.clear()
    day = next(n for n in range(1, 1_000) if score_at(row, row.as_of + n * DAY).band == "steady")
    told.until(row.as_of + (day - 1) * DAY).then("acc-1", band="thriving").then_announced()
    told.until(row.as_of + (day + 1) * DAY).then("acc-1", band="steady", mover="purchasing", version=28)
    [said] = told.announced
    assert isinstance(said, HealthBandCrossed)
    assert (said.before, said.band, said.component) == ("thriving", "steady", "purchasing")
    assert THRIVING - 1 < said.score < THRIVING
    assert said.value == said.score
    told.until(row.as_of + 3_000 * DAY).then("acc-1", band="at_risk", next_look=None)
    assert [one.band for one in told.announced if isinstance(one, HealthBandCrossed)] == [
        "steady",
        "slipping",
        "at_risk",
    ]


def test_a_crossing_is_laid_to_what_moved_it() -> None:
    said = [happened(SurveyAnswered(survey_id=f"s-{n}", kind="csat", score=5), at="2026-01-01") for n in range(4)]
    bad = [happened(SurveyAnswered(survey_id=f"t-{n}", kind="csat", score=1), at="2026-01-02") for n in range(9)]
    told = given(account_health, *said).then("acc-1", band="thriving", band_since=moment("2026-01-01"))
    [first] = told.announced
    assert isinstance(first, HealthBandCrossed)
    assert (first.before, first.band) == ("unknown", "thriving")
    told.announced.clear()
    told.when(*bad)
    assert {(one.band, one.component) for one in told.announced if isinstance(one, HealthBandCrossed)} == {
        ("steady", "satisfaction"),
        ("slipping", "satisfaction"),
    }
    told.then("acc-1", mover="satisfaction")


def test_a_health_that_fades_away_crosses_nothing() -> None:
    told = given(account_health, happened(SurveyAnswered(survey_id="s", kind="csat", score=5), at="2026-01-01"))
    told.announced.clear()
    told.until("2026-06-01").then("acc-1", band="thriving")
    told.until("2028-06-01").then("acc-1", band="unknown", score=None, trend=None, next_look=None).then_announced()


def test_whose_purchases_stand_alone_is_woken_once_a_band() -> None:
    row = health(*(order(f"o-{day}", 40.0, f"2026-01-{day:02}") for day in range(1, 29)))
    assert len(_wakes(row)) == 3


def test_a_mixture_is_looked_at_now_and_then_not_daily() -> None:
    row = health(
        *(order(f"o-{day}", 40.0, f"2026-01-{day:02}") for day in range(1, 29)),
        happened(SurveyAnswered(survey_id="s", kind="csat", score=3), at="2026-01-28"),
        happened(VideoCompleted(video_id="v-1"), at="2026-01-28"),
    )
    assert len(_wakes(row)) < 60


def test_the_trend_compares_with_four_weeks_before() -> None:
    row = health(order("o-1", 100.0, "2026-01-01"), order("o-2", 100.0, "2026-03-01"))
    four_weeks_before = score_at(health(order("o-1", 100.0, "2026-01-01")), moment("2026-02-01")).score
    assert four_weeks_before is not None
    assert row.score is not None
    assert row.trend == pytest.approx(row.score - four_weeks_before, abs=0.05)
    later = trend_at(row, moment("2026-07-01"))
    assert later is not None
    assert later < 0


def test_a_trend_needs_four_weeks() -> None:
    young = health(order("o-1", 100.0, "2026-01-01"), order("o-2", 100.0, "2026-01-20"))
    assert young.trend is None
    assert trend_at(young, moment("2026-01-28")) is None
    assert trend_at(young, moment("2026-02-10")) is not None


def test_a_trend_within_the_kept_weeks_follows_what_was_seen_then() -> None:
    bought = [order(f"o-{n}", 50.0, f"2026-{1 + n // 4:02}-{1 + 7 * (n % 4):02}") for n in range(24)]
    for at in range(8, 24):
        row, now = health(*bought[:at]), bought[at - 1].time
        then = [event for event in bought[:at] if event.time <= now - 4 * 7 * DAY]
        was = score_at(health(*then), now - 4 * 7 * DAY).score
        assert row.trend is not None
        assert row.score is not None
        assert was is not None
        assert row.trend == pytest.approx(row.score - was, abs=5.0)
        assert len(row.weekly) <= 5


DATA: st.SearchStrategy[EventData] = st.one_of(
    st.builds(OrderCompleted, order_id=st.text("abcdef", min_size=1), total=st.floats(0, 1e4)),
    st.builds(ReviewPosted, product_id=st.text("abc", min_size=1), rating=st.floats(1, 5)),
    st.builds(VideoCompleted, video_id=st.text("abc", min_size=1)),
    st.builds(RequestAnswered, request_id=st.text("abc", min_size=1), waited=st.floats(0, 1e6)),
    st.builds(QualityInspected, delivery_id=st.text("abc", min_size=1), inspected=st.just(100), defective=st.just(3)),
    st.builds(
        DeliveryReceived,
        delivery_id=st.text("abc", min_size=1),
        promised=st.just(moment("2026-01-10")),
        units_ordered=st.just(10),
        units_received=st.integers(0, 10),
    ),
)
MOMENTS = st.datetimes(moment("2025-06-01").replace(tzinfo=None), moment("2026-02-01").replace(tzinfo=None))


@settings(max_examples=60, deadline=None)
@for_all(st.lists(st.tuples(DATA, MOMENTS), min_size=1, max_size=12))
def test_whatever_happened_no_band_moves_unseen_for_more_than_a_day(history: list[tuple[EventData, Any]]) -> None:
    ordered = sorted(history, key=lambda one: one[1])
    row = health(*(happened(data, at=at) for data, at in ordered))
    end = row.as_of + 900 * DAY
    looks = 0
    while row.next_look is not None and row.next_look < end:
        assert row.next_look >= row.as_of + DAY
        seen = score_at(row, row.next_look - DAY - timedelta(hours=1)) if row.next_look > row.as_of + 2 * DAY else None
        assert seen is None or seen.band == row.band
        row = looked_at(row, row.next_look)
        looks += 1
    assert score_at(row, max(end, row.as_of)).band == row.band or row.next_look is not None
    assert looks < 400


def _wakes(row: AccountHealth) -> list[Any]:
    found = []
    while row.next_look is not None:
        found.append(row.next_look)
        row = looked_at(row, row.next_look)
    return found
