"""A reader who opens less and less is asked for their preferences, once until they read again."""

from datetime import timedelta

import pytest

from engage.events.catalogue.newsletters import (
    NewsletterBounced,
    NewsletterClicked,
    NewsletterOpened,
    NewsletterReported,
    NewsletterSent,
    NewsletterSubscribed,
    NewsletterUnsubscribed,
)
from engage.testing.events import happened, moment
from engage.testing.rules import given, requested
from streams.customers.newsletter_fatigue import rule

START = moment("2026-01-01")
WEEK = timedelta(weeks=1)
SUBSCRIBED = happened(NewsletterSubscribed(), at="2025-01-01")


def issues(pattern, first=0, fate=NewsletterOpened):
    """A weekly issue for each letter: ``o`` opened, ``-`` not, ``b`` bounced."""
    events = []
    for number, letter in enumerate(pattern, start=first):
        name, at = f"issue-{number}", START + number * WEEK
        events.append(happened(NewsletterSent(newsletter_id=name), at=at))
        if letter == "o":
            more = {"link": "/jazz"} if fate is NewsletterClicked else {}
            events.append(happened(fate(newsletter_id=name, **more), at=at + timedelta(hours=5)))
        elif letter == "b":
            events.append(happened(NewsletterBounced(newsletter_id=name), at=at + timedelta(minutes=1)))
    return events


def after(weeks):
    """Just before the issue of that number would be sent: all those before it count."""
    return START + weeks * WEEK - timedelta(minutes=1)


def test_who_opens_half_as_much_as_before_is_asked_what_they_would_like_to_read():
    (
        given(rule, SUBSCRIBED, *issues("oooo-o--"))
        .then_nothing()
        .when(time=START + 7 * WEEK + timedelta(days=4, hours=23))
        .then_nothing()
        .when(time=START + 7 * WEEK + timedelta(days=5))
        .then(
            requested(
                "newsletter preferences",
                about="newsletter",
                purpose="marketing",
                channels=["email"],
                priority="low",
                why="Of the last 4 issues they opened 1, of the 4 before 4: "
                "send less, and ask what they would like to read.",
            )
        )
    )


@pytest.mark.parametrize("pattern", ["oooooooo", "oo-oo-o-", "--o--o--", "-o-o-o-o", "----oooo"])
def test_who_reads_as_before_is_left_alone(pattern):
    given(rule, SUBSCRIBED, *issues(pattern)).when(time=after(8)).then_nothing()


def test_who_never_opens_any_is_asked_too():
    given(rule, SUBSCRIBED, *issues("--------")).when(time=after(8)).then(requested("newsletter preferences"))


def test_seven_issues_are_too_few_to_tell():
    given(rule, SUBSCRIBED, *issues("ooo----")).when(time=after(20)).then_nothing()


def test_nobody_is_asked_again_until_they_have_read_with_interest():
    (
        given(rule, SUBSCRIBED, *issues("oooo----"))
        .when(time=after(8))
        .then(requested("newsletter preferences"))
        .when(*issues("--o-----", first=8), time=after(16))
        .then_nothing()
        .when(*issues("oo", first=16), time=after(18))
        .then_nothing()
        .when(*issues("------", first=18), time=after(24))
        .then(requested("newsletter preferences"))
    )


def test_a_click_counts_where_openings_are_blocked():
    given(rule, SUBSCRIBED, *issues("oooooooo", fate=NewsletterClicked)).when(time=after(8)).then_nothing()


def test_an_issue_that_came_back_says_nothing():
    (
        given(rule, SUBSCRIBED, *issues("oooobbbb"))
        .when(time=after(8))
        .then_nothing()
        .when(*issues("----", first=8), time=after(12))
        .then(requested("newsletter preferences"))
    )


def test_an_opening_that_the_log_learned_of_first_counts():
    swapped = issues("oooooooo")
    for at in range(0, len(swapped), 2):
        sent, opened = swapped[at : at + 2]
        sent.recorded = opened.time
        swapped[at : at + 2] = [opened, sent]
    given(rule, SUBSCRIBED, *swapped).when(time=after(20)).then_nothing()


def test_an_issue_reported_as_sent_twice_counts_once():
    twice = issues("ooo----")
    twice.append(happened(NewsletterSent(newsletter_id="issue-6"), at=after(7), id="again"))
    given(rule, SUBSCRIBED, *twice).when(time=after(20)).then_nothing()


@pytest.mark.parametrize("farewell", [NewsletterUnsubscribed(), NewsletterReported(newsletter_id="issue-6")])
def test_who_left_is_not_asked_and_begins_anew_when_they_return(farewell):
    (
        given(rule, SUBSCRIBED, *issues("oooo---"), happened(farewell, at=after(7)))
        .when(
            happened(NewsletterSubscribed(), at=after(7) + timedelta(seconds=1)),
            *issues("-------", first=7),
            time=after(14),
        )
        .then_nothing()
        .when(*issues("-", first=14), time=after(15))
        .then(requested("newsletter preferences"))
    )


def test_of_two_thousand_issues_the_latest_sixteen_are_remembered():
    story = given(rule, SUBSCRIBED, *issues("o" * 2_000))
    assert list(story.state(rule).issues) == [f"issue-{number}" for number in range(1_984, 2_000)]


def test_a_daily_newsletter_is_measured_although_some_issues_are_always_on_their_way():
    days = [
        event
        for number, opened in enumerate("oooo----")
        for event in (
            happened(NewsletterSent(newsletter_id=f"day-{number}"), at=START + timedelta(days=number)),
            *(
                [happened(NewsletterOpened(newsletter_id=f"day-{number}"), at=START + timedelta(days=number, hours=1))]
                if opened == "o"
                else []
            ),
        )
    ]
    more = [
        happened(NewsletterSent(newsletter_id=f"day-{number}"), at=START + timedelta(days=number))
        for number in range(8, 13)
    ]
    given(rule, SUBSCRIBED, *days).when(*more, time=START + timedelta(days=12)).then(
        requested("newsletter preferences")
    )
