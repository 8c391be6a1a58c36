"""Help is offered once to somebody who got stuck in a tutorial."""

from engage.events.catalogue.tutorials import (
    TutorialAbandoned,
    TutorialCompleted,
    TutorialStarted,
    TutorialStepCompleted,
)
from engage.testing.events import happened
from engage.testing.rules import given, requested
from streams.customers.tutorial_unfinished import rule


def started(at, tutorial="tut-1", **more):
    return happened(TutorialStarted(tutorial_id=tutorial, title="Rip a CD", steps=8), at=at, **more)


def stepped(step, at, tutorial="tut-1", **more):
    return happened(TutorialStepCompleted(tutorial_id=tutorial, step=step), at=at, **more)


def completed(at, tutorial="tut-1"):
    return happened(TutorialCompleted(tutorial_id=tutorial), at=at)


def test_who_got_stuck_is_offered_help_a_week_after_their_last_step():
    (
        given(rule, started("2026-03-01"), stepped(1, "2026-03-01T01:00"), stepped(2, "2026-03-05"))
        .when(time="2026-03-11T23:59")
        .then_nothing()
        .when(time="2026-03-12")
        .then(
            requested(
                "tutorial help",
                about="tut-1",
                purpose="service",
                channels=["email"],
                priority="low",
                why="They did 2 of 8 steps of the tutorial “Rip a CD” and stopped on 2026-03-05.",
            )
        )
    )


def test_who_finished_needs_no_help():
    given(rule, started("2026-03-01"), stepped(1, "2026-03-02"), completed("2026-03-03")).when(
        time="2026-05-01"
    ).then_nothing()


def test_help_is_offered_once_a_tutorial():
    (
        given(rule, started("2026-03-01"))
        .when(time="2026-03-08")
        .then(requested("tutorial help", about="tut-1"))
        .when(stepped(1, "2026-03-09"), started("2026-05-01"), time="2026-12-01")
        .then_nothing()
        .when(started("2026-12-02", "tut-2"), time="2026-12-31")
        .then(requested("tutorial help", about="tut-2"))
    )


def test_who_closed_a_tutorial_has_a_week_to_come_back():
    (
        given(rule, started("2026-03-01"), happened(TutorialAbandoned(tutorial_id="tut-1", step=1), at="2026-03-04"))
        .when(time="2026-03-10T23:00")
        .then_nothing()
        .when(time="2026-03-11")
        .then(requested("tutorial help"))
    )


def test_steps_that_come_late_or_before_the_start_count_alike():
    (
        given(
            rule,
            stepped(3, "2026-03-03"),
            started("2026-03-01", recorded="2026-03-03T00:10"),
            stepped(2, "2026-03-02", recorded="2026-03-03T00:20"),
        )
        .when(time="2026-03-09T23:00")
        .then_nothing()
        .when(time="2026-03-10")
        .then(
            requested(
                "tutorial help", why="They did 3 of 8 steps of the tutorial “Rip a CD” and stopped on 2026-03-03."
            )
        )
    )


def test_a_completion_that_the_log_learned_of_first_counts():
    (
        given(rule, completed("2026-03-02"), started("2026-03-01T23:30", recorded="2026-03-02T00:10"))
        .when(time="2026-05-01")
        .then_nothing()
    )


def test_a_very_long_title_is_cut():
    (
        given(rule, happened(TutorialStarted(tutorial_id="tut-1", title="x" * 1000), at="2026-03-01"))
        .when(time="2026-03-08")
        .then(
            requested("tutorial help", why=f"They did 0 steps of the tutorial “{'x' * 80}” and stopped on 2026-03-01.")
        )
    )


def test_who_begins_a_thousand_tutorials_is_remembered_by_the_latest_twenty():
    begun = [started(f"2026-03-01T10:{n // 60:02}:{n % 60:02}", f"tut-{n}") for n in range(1_000)]
    story = given(rule, *begun)
    assert list(story.state(rule).begun) == [f"tut-{n}" for n in range(980, 1_000)]
    story.when(time="2026-03-31")
    assert {decision.data.about for decision in story.decisions} <= {f"tut-{n}" for n in range(980, 1_000)}
