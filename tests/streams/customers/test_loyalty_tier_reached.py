"""Who rises to a tier is congratulated once."""

from engage.events.catalogue.loyalty import TierLost, TierReached
from engage.testing.events import happened
from engage.testing.rules import given, requested, skipped
from streams.customers.loyalty_tier_reached import rule


def reached(tier, at, until=None, **more):
    return happened(TierReached(tier=tier, until=until), at=at, **more)


def lost(tier, at, **more):
    return happened(TierLost(tier=tier), at=at, **more)


def test_who_reaches_a_tier_is_congratulated_at_once():
    (
        given(rule)
        .when(reached("silver", "2026-03-01"))
        .then(
            requested(
                "tier congratulation",
                about="silver",
                purpose="service",
                channels=["email"],
                priority="low",
                why="They reached the tier silver on 2026-03-01.",
                due="2026-03-02",
                expires="2026-03-11",
            )
        )
    )


def test_they_read_how_long_they_keep_it():
    until = happened(TierLost(tier="gold"), at="2027-03-31").time
    (
        given(rule)
        .when(reached("gold", "2026-03-01", until))
        .then(
            requested(
                "tier congratulation",
                why="They reached the tier gold on 2026-03-01, and keep it until 2027-03-31 at least.",
            )
        )
    )


def test_a_tier_reported_twice_is_congratulated_on_once():
    (
        given(rule)
        .when(reached("silver", "2026-03-01"), reached("silver", "2026-03-02", id="again"))
        .then(requested("tier congratulation", about="silver"))
    )


def test_each_next_tier_is_news():
    (
        given(rule)
        .when(reached("silver", "2026-03-01"), reached("gold", "2026-04-01"))
        .then(requested("tier congratulation", about="silver"), requested("tier congratulation", about="gold"))
    )


def test_a_tier_lost_and_reached_again_soon_is_no_news_and_a_year_later_it_is():
    (
        given(rule)
        .when(reached("silver", "2026-03-01"))
        .then(requested("tier congratulation"))
        .when(lost("silver", "2026-05-01"), reached("silver", "2026-06-01"))
        .then_nothing()
        .when(lost("silver", "2026-12-01"), reached("silver", "2027-03-01"))
        .then(requested("tier congratulation", about="silver"))
    )


def test_a_tier_that_we_learn_of_after_they_rose_further_or_fell_is_passed_over():
    (
        given(rule)
        .when(reached("gold", "2026-03-02"))
        .then(requested("tier congratulation", about="gold"))
        .when(reached("silver", "2026-03-01", recorded="2026-03-03"))
        .then_nothing()
    )
    (
        given(rule)
        .when(lost("silver", "2026-03-02"), reached("silver", "2026-03-01", recorded="2026-03-03"))
        .then_nothing()
    )


def test_a_tier_that_we_learn_of_weeks_later_is_not_congratulated_on():
    (
        given(rule)
        .when(reached("silver", "2026-03-01", recorded="2026-04-01"))
        .then(skipped("tier congratulation", reason="stale", about="silver"))
    )


def test_of_a_hundred_tiers_the_latest_eight_are_remembered():
    story = given(rule, *(reached(f"{n:03}" + "x" * 250, f"2026-03-01T{n // 60:02}:{n % 60:02}") for n in range(100)))
    assert [tier[:3] for tier in story.state(rule).congratulated] == [f"{n:03}" for n in range(92, 100)]
