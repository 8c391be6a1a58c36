"""The manager is asked to talk once a slip, absences included, until the supplier has recovered."""

from datetime import date, timedelta

from engage.events.catalogue.deliveries import DeliveryPostponed, DeliveryPromised, DeliveryReceived
from engage.testing.events import happened, moment
from engage.testing.rules import given, requested
from streams.partners.deliveries_slipping import Settings, rule

START = date(2026, 1, 5)


def promise(week, *, made=None, due=None):
    promised = str(START + timedelta(weeks=week)) if due is None else due
    data = DeliveryPromised(delivery_id=f"d-{week}", promised=moment(promised))
    return happened(data, at=made or str(START + timedelta(weeks=week, days=-3)))


def arrival(week, late_days=0, *, recorded=None):
    promised = START + timedelta(weeks=week)
    data = DeliveryReceived(
        delivery_id=f"d-{week}", promised=moment(str(promised)), units_ordered=100, units_received=100
    )
    return happened(data, at=str(promised + timedelta(days=late_days)), recorded=recorded)


def weekly(*late_days, first=0):
    return [arrival(first + week, late) for week, late in enumerate(late_days)]


def test_three_late_of_the_last_eight_are_a_slip():
    (
        given(rule, *weekly(0, 0, 0, 3, 0, 3, 0))
        .then_nothing()
        .when(arrival(7, 4))
        .then(
            requested(
                "talk about deliveries",
                about="deliveries",
                purpose="partnership",
                channels=["manager"],
                priority="high",
                why="3 of the last 8 deliveries were more than 1 day late, the latest of them promised for 2026-02-23.",
            )
        )
    )


def test_a_day_of_grace_is_given():
    given(rule, *weekly(1, 1, 1, 1, 1)).then_nothing()


def test_late_deliveries_that_lie_far_apart_are_no_slip():
    given(rule, *weekly(*([3] + [0] * 7) * 4)).then_nothing()


def test_a_slip_is_talked_about_once_until_they_recovered():
    (
        given(rule, *weekly(3, 3))
        .when(arrival(2, 3))
        .then(requested("talk about deliveries"))
        .when(*weekly(3, 3, 3, first=3))
        .then_nothing()
        .when(*weekly(*[0] * 7, first=6), *weekly(3, first=13))
        .then_nothing()
        .when(*weekly(3, 3, first=14))
        .then(requested("talk about deliveries"))
    )


def test_a_delivery_that_never_came_counts_a_day_after_its_promise():
    (
        given(rule, *weekly(3, 3), promise(3))
        .when(time="2026-01-26T23:59")
        .then_nothing()
        .when(time="2026-01-27")
        .then(
            requested(
                "talk about deliveries",
                why="3 of the last 3 deliveries were more than 1 day late, the latest of them promised for 2026-01-26.",
            )
        )
    )


def test_a_missing_delivery_that_comes_at_last_is_counted_once():
    (
        given(rule, *weekly(3), promise(1), promise(2, made="2026-01-10"), arrival(1, 5), arrival(2, 0))
        .when(time="2026-03-01")
        .then_nothing()
    )


def test_a_delivery_that_came_in_time_and_was_reported_late_was_not_late():
    (
        given(rule, *weekly(3), promise(2), arrival(2, 0, recorded="2026-01-25"), arrival(3, 5))
        .then_nothing()
        .when(arrival(5, 5))
        .then(requested("talk about deliveries", why=None))
    )


def test_a_postponed_delivery_is_due_at_its_new_promise():
    postponed = happened(DeliveryPostponed(delivery_id="d-3", promised=moment("2026-02-10")), at="2026-01-24")
    (
        given(rule, *weekly(3, 3), promise(3), postponed)
        .when(time="2026-02-10T23:00")
        .then_nothing()
        .when(time="2026-02-11")
        .then(requested("talk about deliveries"))
    )


def test_a_promise_that_we_learn_of_after_the_arrival_is_not_waited_for():
    late_news = happened(
        DeliveryPromised(delivery_id="d-2", promised=moment("2026-01-19")), at="2026-01-10", recorded="2026-01-20"
    )
    given(rule, *weekly(3, 3, 0), late_news).when(time="2026-06-01").then_nothing()


def test_no_more_than_the_window_is_remembered():
    story = given(rule, *weekly(*[0] * 40))
    assert len(story.state(rule).latest) == Settings().window
