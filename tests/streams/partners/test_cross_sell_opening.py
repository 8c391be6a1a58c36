"""The manager is asked about an opening that is worth a talk, once in half a year for each."""

import pytest

from engage.events.catalogue.cross_sell import CrossSellOpeningFound
from engage.testing.events import happened
from engage.testing.rules import given, requested, skipped
from streams.partners.cross_sell_opening import rule

OPENING = "cross-sell opening"


def found(at="2026-03-01", opening="amplifiers", kind="category", support=12, similar=20, lift=2.5, **more):
    data = CrossSellOpeningFound(kind=kind, opening=opening, support=support, similar=similar, lift=lift)
    return happened(data, at=at, **more)


def test_what_similar_accounts_have_and_this_one_lacks_is_asked_about():
    (
        given(rule)
        .when(found())
        .then(
            requested(
                OPENING,
                about="category|amplifiers",
                purpose="partnership",
                priority="low",
                channels=["manager"],
                why="12 of 20 similar accounts have the category “amplifiers”, 2.5 times as often as all accounts do; "
                "this one does not.",
            )
        )
    )


@pytest.mark.parametrize("weak", [{"similar": 9, "support": 9}, {"support": 4}, {"lift": 1.4}])
def test_a_weak_opening_is_not(weak):
    given(rule, found(**weak)).when(time="2026-12-31").then_nothing()


def test_the_same_opening_is_asked_about_again_only_after_half_a_year():
    (
        given(rule, found(), found(at="2026-03-02"), found(at="2026-08-27"))
        .when(time="2026-08-27")
        .then_nothing()
        .when(found(at="2026-08-28"))
        .then(requested(OPENING))
    )


def test_a_category_and_a_programme_of_the_same_name_are_two_openings():
    given(rule, found()).when(found(at="2026-03-02", kind="programme")).then(
        requested(OPENING, about="programme|amplifiers")
    )


def test_an_opening_from_before_the_one_we_asked_about_asks_nothing():
    given(rule, found()).when(found(at="2026-02-01", recorded="2026-03-02"), time="2026-06-01").then_nothing()


def test_an_opening_that_we_learn_of_too_late_is_stale():
    given(rule).when(found(recorded="2026-06-01")).then(skipped(OPENING, reason="stale"))


def test_a_long_name_is_told_in_short_and_no_more_than_fifty_openings_are_remembered():
    story = given(rule).when(found(opening="x" * 1_000)).then(requested(OPENING))
    story.when(*[found(at=f"2026-03-02T00:{n:02}", opening=f"c-{n}") for n in range(60)])
    assert len(story.state(rule).asked) == 50
