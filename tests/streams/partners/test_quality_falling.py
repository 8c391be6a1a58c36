"""The manager is asked to talk about quality once a fall, until it has recovered."""

from datetime import date, timedelta

from engage.events.catalogue.deliveries import QualityInspected
from engage.testing.events import happened
from engage.testing.rules import given, requested
from streams.partners.quality_falling import Settings, rule

START = date(2026, 1, 5)
TALK = "talk about quality"


def inspection(week, defective, *, inspected=50, after=0, delivery=None, **more):
    data = QualityInspected(delivery_id=delivery or f"d-{week}", inspected=inspected, defective=defective)
    return happened(data, at=str(START + timedelta(weeks=week, days=after)), **more)


def weekly(*defective, first=0):
    return [inspection(first + week, each) for week, each in enumerate(defective)]


def test_four_per_cent_of_the_pieces_of_the_last_five_inspections_are_a_fall():
    (
        given(rule, *weekly(0, 1, 1, 3))
        .then_nothing()
        .when(inspection(4, 5))
        .then(
            requested(
                TALK,
                about="quality",
                purpose="partnership",
                priority="high",
                channels=["manager"],
                why="10 of the 250 pieces of the last 5 inspections were defective (4.0%), since 2026-01-05.",
            )
        )
    )


def test_a_single_bad_inspection_of_few_pieces_is_no_fall():
    given(rule, inspection(0, 10), inspection(1, 9, inspected=40)).then_nothing()
    given(rule, inspection(0, 10)).when(inspection(1, 0)).then(requested(TALK))


def test_large_inspections_weigh_more():
    given(rule, inspection(0, 10), inspection(1, 2, inspected=500)).then_nothing()


def test_a_fall_is_talked_about_once_until_quality_has_recovered():
    (
        given(rule, *weekly(5))
        .when(inspection(1, 5))
        .then(requested(TALK))
        .when(*weekly(4, 0, 5, 1, first=2))
        .then_nothing()
        .when(*weekly(0, 0, 0, 0, 0, first=6))
        .then_nothing()
        .when(*weekly(5, 5, first=11))
        .then(requested(TALK))
    )


def test_a_second_look_at_a_delivery_replaces_the_first():
    given(rule, inspection(0, 10), inspection(0, 0, after=2), inspection(1, 1)).then_nothing()


def test_a_first_look_that_we_learn_of_after_the_second_changes_nothing():
    late = inspection(0, 10, recorded="2026-01-20")
    given(rule, inspection(0, 0, after=2), inspection(1, 1), late).then_nothing()


def test_the_same_inspection_reported_twice_counts_once():
    given(rule, inspection(0, 5), inspection(0, 5, id="again"), inspection(0, 5, id="and again")).then_nothing()


def test_an_inspection_that_we_learn_of_late_counts_in_its_place():
    late = inspection(0, 25, recorded="2026-03-01")
    given(rule, *weekly(0, 0, 0, 0, 0, first=1), late).then_nothing()


def test_no_more_than_the_window_is_remembered():
    story = given(rule, *weekly(*[0] * 30))
    assert len(story.state(rule).latest) == Settings().window
