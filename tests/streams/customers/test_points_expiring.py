"""Points about to lapse are reminded of, once for each month in which some do."""

from datetime import UTC, datetime, timedelta

from engage.events.catalogue.consent import ConsentWithdrawn
from engage.events.catalogue.loyalty import PointsEarned, PointsExpiring, PointsRedeemed
from engage.testing.events import happened, moment
from engage.testing.rules import given, requested, skipped
from streams.customers.points_expiring import rule


def earned(points, at, expires=None, **more):
    return happened(PointsEarned(points=points, expires=expires and moment(expires)), at=at, **more)


def redeemed(points, at, **more):
    return happened(PointsRedeemed(points=points), at=at, **more)


def announced(points, at, expires, **more):
    return happened(PointsExpiring(points=points, expires=moment(expires)), at=at, **more)


def test_points_are_reminded_of_three_weeks_before_they_lapse():
    (
        given(rule, earned(80, "2026-01-01", "2026-06-30"), earned(70, "2026-01-02", "2026-06-25"))
        .when(time="2026-06-03T23:59")
        .then_nothing()
        .when(time="2026-06-04")
        .then(
            requested(
                "points reminder",
                about="2026-06",
                purpose="service",
                channels=["email"],
                why="150 points lapse in 2026-06, the first of them on 2026-06-25.",
                due="2026-06-06",
                expires="2026-06-25",
            )
        )
        .when(time="2026-12-01")
        .then_nothing()
    )


def test_points_that_lapse_first_are_spent_first():
    (
        given(
            rule,
            earned(300, "2026-01-01", "2026-07-15"),
            earned(200, "2026-01-02", "2026-06-15"),
            redeemed(350, "2026-02-01"),
        )
        .when(time="2026-12-01")
        .then(
            requested(
                "points reminder", about="2026-07", why="150 points lapse in 2026-07, the first of them on 2026-07-15."
            )
        )
    )


def test_what_was_spent_before_the_log_learned_of_the_earning_is_counted_from_what_we_know():
    (
        given(rule, redeemed(500, "2026-01-01"), earned(200, "2026-01-02", "2026-06-15"))
        .when(time="2026-12-01")
        .then(requested("points reminder", about="2026-06"))
    )


def test_points_that_never_lapse_are_spent_last_and_never_reminded_of():
    (
        given(
            rule,
            earned(1_000, "2026-01-01"),
            earned(200, "2026-01-01T01:00", "2026-06-15"),
            redeemed(150, "2026-02-01"),
        )
        .when(time="2027-12-01")
        .then_nothing()
    )


def test_a_few_points_are_not_worth_a_letter():
    given(rule, earned(99, "2026-01-01", "2026-06-30")).when(time="2026-12-01").then_nothing()


def test_points_that_are_earned_shortly_before_they_lapse_may_make_it_worth_one():
    (
        given(rule, earned(99, "2026-01-01", "2026-06-30"))
        .when(time="2026-06-20")
        .then_nothing()
        .when(earned(50, "2026-06-20T01:00", "2026-06-30"))
        .then(requested("points reminder", about="2026-06"))
        .when(earned(50, "2026-06-21", "2026-06-30"), time="2026-12-01")
        .then_nothing()
    )


def test_the_programmes_own_word_counts_more_than_our_count():
    (
        given(rule, earned(500, "2026-01-01", "2026-06-30"), announced(120, "2026-05-01", "2026-06-30"))
        .when(time="2026-06-10")
        .then(requested("points reminder", why="120 points lapse in 2026-06, the first of them on 2026-06-30."))
    )


def test_what_is_spent_after_the_programmes_word_is_taken_off_it():
    (
        given(rule, announced(120, "2026-05-01", "2026-06-30"), redeemed(50, "2026-05-02"))
        .when(time="2026-12-01")
        .then_nothing()
    )


def test_a_programme_that_speaks_up_late_is_passed_on_at_once():
    (
        given(rule)
        .when(announced(120, "2026-06-20", "2026-06-30"))
        .then(requested("points reminder", about="2026-06", expires="2026-06-30"))
    )


def test_points_that_we_learn_of_after_they_lapsed_are_not_reminded_of():
    (
        given(rule)
        .when(earned(500, "2026-01-01", "2026-06-30", recorded="2026-07-02"), time="2026-12-01")
        .then(skipped("points reminder", reason="stale", about="2026-06"))
    )


def test_who_wants_no_letters_about_our_service_gets_none():
    (
        given(
            rule,
            happened(ConsentWithdrawn(channel="email", purpose="service"), at="2026-01-01"),
            earned(500, "2026-01-01", "2026-06-30"),
        )
        .when(time="2026-12-01")
        .then(skipped("points reminder", reason="consent"))
    )


def test_months_that_lapsed_are_forgotten_with_what_was_spent_of_them():
    story = given(
        rule,
        earned(500, "2026-01-01", "2026-02-28"),
        redeemed(450, "2026-01-02"),
        earned(10, "2026-03-02", "2027-01-01"),
    )
    assert list(story.state(rule).lots) == ["2027-01"]
    assert story.state(rule).spent == 0


def test_of_a_century_of_months_three_years_are_remembered():
    start = datetime(2026, 1, 1, tzinfo=UTC)
    lots = [earned(10, start + timedelta(minutes=n), start + timedelta(days=400 + 31 * n)) for n in range(200)]
    story = given(rule, *lots)
    assert len(story.state(rule).lots) == 36
    story.when(time="2050-01-01").then_nothing()
