"""Marks become values: counted once a thing, fading, with the events behind them in view."""

from datetime import datetime, timedelta
from math import isclose
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, field

from engage.events.catalogue.web import PageViewed
from engage.events.envelope import Event
from engage.testing.events import happened, moment
from engage.views.evidence import (
    KEPT_REASONS,
    REMEMBERED_DAYS,
    Component,
    Evidence,
    Markings,
    Reason,
    contributions,
    count,
    count_daily,
    count_quietly,
    expect,
    find,
    raise_mark,
    reweigh,
    settle,
)
from engage.views.health import assess

MEAN = Component("mean", "A plain mean", weight=1, half_life_days=30)
LEVEL = Component("level", "A level", weight=1, half_life_days=30, prior=2, middle=0)


class Row(Struct):
    reasons: dict[str, list[Reason]] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)


def event(at: str | datetime) -> Event[Any]:
    return happened(PageViewed(url="/"), at=at)


def value(row: Row, component: Component, at: str) -> float | None:
    return assess({component.name: component}, row.evidence, moment(at)).components.get(component.name)


def test_a_mean_leans_towards_what_is_recent() -> None:
    row = Row()
    count(row, MEAN, event("2026-01-01"), "a", 0.0)
    count(row, MEAN, event("2026-01-31"), "b", 90.0)
    assert value(row, MEAN, "2026-01-31") == pytest.approx(60.0)


def test_silence_leaves_a_mean_alone_until_it_is_unknown_again() -> None:
    row = Row()
    count(row, MEAN, event("2026-01-01"), "a", 80.0)
    assert value(row, MEAN, "2026-03-01") == pytest.approx(80.0)
    assert value(row, MEAN, "2026-12-01") is None


def test_silence_lowers_a_level_but_never_forgets_it() -> None:
    row = Row()
    count(row, LEVEL, event("2026-01-01"), "a", 100.0, 2.0)
    assert value(row, LEVEL, "2026-01-01") == pytest.approx(50.0)
    assert value(row, LEVEL, "2026-01-31") == pytest.approx(100 / 3)
    far = value(row, LEVEL, "2056-01-01")
    assert far is not None
    assert far < 1e-6


def test_a_thing_is_counted_once_with_its_last_mark() -> None:
    row = Row()
    count(row, MEAN, event("2026-01-01"), "a", 10.0)
    count(row, MEAN, event("2026-01-02"), "a", 90.0)
    assert value(row, MEAN, "2026-01-02") == pytest.approx(90.0)
    assert row.evidence["mean"].count == 1
    assert [reason.time for reason in row.reasons["mean"]] == [moment("2026-01-02")]


def test_a_mark_that_says_less_than_is_known_changes_nothing() -> None:
    row = Row()
    raise_mark(row, MEAN, event("2026-01-02"), "a", 90.0)
    before = value(row, MEAN, "2026-01-03")
    raise_mark(row, MEAN, event("2026-01-01"), "a", 60.0)
    assert value(row, MEAN, "2026-01-03") == before


def test_what_is_pending_says_nothing_until_it_is_marked() -> None:
    row = Row()
    expect(row, MEAN, event("2026-01-01"), "a")
    assert value(row, MEAN, "2026-01-01") is None
    count(row, MEAN, event("2026-01-02"), "a", 70.0)
    assert value(row, MEAN, "2026-01-02") == pytest.approx(70.0)


def test_what_came_to_nothing_is_settled_at_its_own_time() -> None:
    row = Row()
    count(row, MEAN, event("2026-01-31"), "b", 90.0)
    expect(row, MEAN, event("2026-01-01"), "letter 1")
    settle(row, MEAN, "letter ", 0.0, 1.0)
    assert value(row, MEAN, "2026-01-31") == pytest.approx(60.0)


def test_background_alone_makes_nothing_known() -> None:
    row = Row()
    count_quietly(row, MEAN, event("2026-01-01"), 100.0, 3.0)
    assert value(row, MEAN, "2026-01-01") is None
    count(row, MEAN, event("2026-01-01"), "a", 0.0)
    assert value(row, MEAN, "2026-01-01") == pytest.approx(75.0)


def test_a_day_counts_once() -> None:
    row = Row()
    for hour in range(5):
        count_daily(row, LEVEL, event(moment("2026-01-01") + timedelta(hours=hour)), 100.0, 1.0)
    assert row.evidence["level"].weight == 1.0
    count_daily(row, LEVEL, event("2026-01-02"), 100.0, 1.0)
    assert row.evidence["level"].count == 2


@given(st.lists(st.integers(min_value=0, max_value=REMEMBERED_DAYS - 1), min_size=1, max_size=60))
def test_each_day_counts_once_in_whatever_order_days_come(days: list[int]) -> None:
    row, in_order = Row(), Row()
    for day in days:
        count_daily(row, LEVEL, event(moment("2026-01-01") + timedelta(days=day)), 100.0, 1.0)
    for day in sorted(set(days)):
        count_daily(in_order, LEVEL, event(moment("2026-01-01") + timedelta(days=day)), 100.0, 1.0)
    assert row.evidence["level"].count == len(set(days))
    assert value(row, LEVEL, "2026-04-01") == pytest.approx(value(in_order, LEVEL, "2026-04-01"))


def test_a_day_too_long_past_to_know_whether_it_was_counted_counts_for_nothing() -> None:
    row = Row()
    last = moment("2026-06-01")
    for ago in (REMEMBERED_DAYS, 0, REMEMBERED_DAYS, 10_000, REMEMBERED_DAYS - 1):
        count_daily(row, LEVEL, event(last - timedelta(days=ago)), 100.0, 1.0)
    assert row.evidence["level"].count == 3
    assert row.evidence["level"].last_day == event(last).time.timestamp() // 86_400


def test_a_thing_can_weigh_less_after_all() -> None:
    row = Row()
    count(row, LEVEL, event("2026-01-01"), "a", 100.0, 8.0)
    reweigh(row, LEVEL, "a", 2.0)
    assert value(row, LEVEL, "2026-01-01") == pytest.approx(50.0)
    reweigh(row, LEVEL, "never heard of", 2.0)
    assert value(row, LEVEL, "2026-01-01") == pytest.approx(50.0)


def test_only_the_few_that_count_most_are_kept_and_old_ones_drop_out() -> None:
    row = Row()
    count(row, LEVEL, event("2025-01-01"), "old and large", 100.0, 9.0)
    count(row, LEVEL, event("2026-01-01"), "small", 100.0, 0.1)
    for day in range(2, 2 + KEPT_REASONS):
        count(row, LEVEL, event(f"2026-01-{day:02}"), f"day {day}", 100.0, 1.0)
    assert [reason.about for reason in row.reasons["level"]] == [f"day {day}" for day in range(2, 2 + KEPT_REASONS)]
    assert find(row, LEVEL, "small") is None


def test_contributions_add_up_to_the_distance_from_the_middle() -> None:
    row = Row()
    for at, mark in (("2026-01-01", 10.0), ("2026-02-01", 95.0), ("2026-02-02", 60.0)):
        count(row, MEAN, event(at), at, mark)
        count(row, LEVEL, event(at), at, mark)
    now = moment("2026-03-01").timestamp()
    for component in (MEAN, LEVEL):
        points = contributions(component, row.evidence[component.name], row.reasons[component.name], now)
        expected = value(row, component, "2026-03-01")
        assert expected is not None
        assert isclose(sum(points), expected - component.middle, rel_tol=1e-9)


def test_a_reason_keeps_what_it_contributed_when_the_last_one_came() -> None:
    row = Row()
    for at, mark in (("2026-01-01", 10.0), ("2026-02-01", 95.0), ("2026-02-02", 60.0)):
        for component in (MEAN, LEVEL):
            expect(row, component, event(at), f"pending {at}")
            count(row, component, event(at), at, mark, 0.7)
    for component in (MEAN, LEVEL):
        evidence, reasons = row.evidence[component.name], row.reasons[component.name]
        points = contributions(component, evidence, reasons, moment("2026-02-02").timestamp())
        assert [reason.contribution for reason in reasons] == [round(one, 2) for one in points]
        assert any(reason.contribution for reason in reasons)
        assert any(reason.pending for reason in reasons)


def test_two_markings_for_one_type_are_refused() -> None:
    markings = Markings()
    markings.on(PageViewed)(lambda row, event: None)
    with pytest.raises(ValueError, match="two markings for PageViewed"):
        markings.on(PageViewed)(lambda row, event: None)
