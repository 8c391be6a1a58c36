"""The policy's word: consent, caps, open matters, staleness, and when a no is worth a record."""

from datetime import timedelta

import pytest

from engage.events.catalogue.follow_up import FollowUpCompleted, FollowUpDismissed, FollowUpExpired
from engage.events.catalogue.newsletters import NewsletterReported, NewsletterSubscribed, NewsletterUnsubscribed
from engage.rules.policy import PolicySettings
from engage.testing.events import happened
from engage.testing.rules import AT_ANY_HOUR, given, requested, skipped
from tests.rules.ledger import Ledger
from tests.rules.probes import allowed, asking, forbidden, ticket

MARKETING = asking(purpose="marketing", channels=("email",))
EMAIL = asking(channels=("email",))


@pytest.mark.parametrize(
    ("words", "may"),
    [
        ([], False),
        ([allowed("email")], True),
        ([allowed("*")], True),
        ([allowed("sms")], False),
        ([allowed("email", "research")], False),
        ([allowed("email"), forbidden("email")], False),
        ([allowed("email"), forbidden("sms")], True),
        ([allowed("email"), forbidden("*")], False),
        ([allowed("*"), forbidden("email")], False),
        ([allowed("email"), forbidden("*"), allowed("email", at="2026-01-03")], True),
        ([allowed("email"), forbidden("*"), allowed("*", at="2026-01-03")], True),
        ([allowed("email"), forbidden("email", at="2026-01-01")], False),
        ([forbidden("email"), allowed("email", at="2026-01-01", recorded="2026-01-03")], False),
        ([forbidden("email"), allowed("*", at="2026-01-01", recorded="2026-01-03")], False),
        ([happened(NewsletterSubscribed(), at="2026-01-01")], True),
        (
            [happened(NewsletterSubscribed(), at="2026-01-01"), happened(NewsletterUnsubscribed(), at="2026-01-02")],
            False,
        ),
        (
            [
                happened(NewsletterSubscribed(), at="2026-01-01"),
                happened(NewsletterReported(newsletter_id="n-1"), at="2026-01-02"),
            ],
            False,
        ),
    ],
)
def test_marketing_needs_a_yes_and_the_newest_word_counts(words, may):
    expected = requested("ask", channels=["email"]) if may else skipped("ask", reason="consent")
    given(MARKETING, *words).when(ticket("2026-03-01")).then(expected)


def test_service_needs_only_that_nobody_said_no():
    given(EMAIL).when(ticket("2026-03-01")).then(requested("ask"))
    given(EMAIL, forbidden("email", "marketing")).when(ticket("2026-03-01")).then(requested("ask"))
    given(EMAIL, forbidden("email", "service")).when(ticket("2026-03-01")).then(skipped("ask", reason="consent"))


def test_channels_without_consent_are_left_out_and_the_order_of_the_others_stays():
    rule = asking(purpose="marketing", channels=("sms", "email", "manager"))
    given(rule, allowed("email")).when(ticket("2026-03-01")).then(requested("ask", channels=["email", "manager"]))


def test_the_managers_own_queue_needs_no_consent():
    given(asking(purpose="marketing"), forbidden("*")).when(ticket("2026-03-01")).then(requested("ask"))


def test_consent_is_each_accounts_own():
    given(MARKETING, allowed("email", subject="acc-2")).when(ticket("2026-03-01")).then(
        skipped("ask", reason="consent")
    )


def test_an_account_is_contacted_three_times_a_week_at_most():
    days = [ticket(f"2026-03-0{n}", f"t-{n}") for n in range(1, 5)]
    (
        given(EMAIL, *days[:3])
        .when(days[3])
        .then(skipped("ask", reason="cap", about="t-4"))
        .when(ticket("2026-03-07T23:59", "t-5"))
        .then(skipped("ask", reason="cap", about="t-5"))
        .when(ticket("2026-03-08", "t-6"))
        .then(requested("ask", about="t-6"))
    )


def test_how_often_is_a_setting():
    once = PolicySettings(cap=1, cap_window=timedelta(days=1), quiet_hours=None)
    given(EMAIL, ticket("2026-03-01"), policy=once).when(
        ticket("2026-03-01T23:59", "t-2"), ticket("2026-03-02", "t-3")
    ).then(skipped("ask", reason="cap", about="t-2"), requested("ask", about="t-3"))


def test_less_urgent_contacts_do_not_count_against_a_more_urgent_one():
    low = asking("low", priority="low", channels=("email",))
    once = PolicySettings(cap=1, quiet_hours=None)
    urgent = asking("urgent", priority="urgent", channels=("email",), about="fire")
    given([low], ticket("2026-03-01"), policy=once).when(ticket("2026-03-02", "t-2")).then(
        skipped("ask", reason="cap", about="t-2")
    )
    given([low, urgent], policy=once).when(ticket("2026-03-02")).then(
        requested("ask", rule="urgent", about="fire"), skipped("ask", rule="low", reason="cap")
    )


def test_the_more_urgent_of_two_at_the_same_record_takes_the_last_slot():
    first, second = (
        asking("a", priority="normal", channels=("email",)),
        asking("b", priority="high", channels=("email",)),
    )
    given([first, second], policy=PolicySettings(cap=1, quiet_hours=None)).when(ticket("2026-03-01")).then(
        requested("ask", rule="b"), skipped("ask", rule="a", reason="cap")
    )


def test_tasks_for_the_manager_do_not_count_as_contacts():
    given(asking(), policy=PolicySettings(cap=0)).when(*(ticket("2026-03-01", f"t-{n}") for n in range(5))).then(
        *(requested("ask", about=f"t-{n}") for n in range(5))
    )


def test_what_is_open_is_not_asked_for_again():
    given(asking(), ticket("2026-03-01")).when(ticket("2026-03-02", id="again")).then(
        skipped("ask", reason="duplicate", about="t-1")
    )


@pytest.mark.parametrize(
    "closed",
    [
        lambda follow_up: FollowUpCompleted(follow_up_id=follow_up, outcome="reached"),
        lambda follow_up: FollowUpDismissed(follow_up_id=follow_up, reason="not_needed"),
        lambda follow_up: FollowUpExpired(follow_up_id=follow_up),
    ],
)
def test_what_was_closed_may_be_asked_for_again(closed):
    story = given(asking(), ticket("2026-03-01"))
    (open_follow_up,) = story.decisions
    (
        story.when(happened(closed("another"), at="2026-03-02"), ticket("2026-03-02", id="again"))
        .then(skipped("ask", reason="duplicate"))
        .when(happened(closed(open_follow_up.id), at="2026-03-03"), ticket("2026-03-04", id="once more"))
        .then(requested("ask", about="t-1"))
    )


def test_what_has_expired_is_open_no_longer():
    given(asking(), ticket("2026-03-01")).when(ticket("2026-03-14T23:59", id="2"), ticket("2026-03-15", id="3")).then(
        skipped("ask", reason="duplicate"), requested("ask")
    )


def test_two_rules_may_share_a_subject_matter():
    rules = [asking("a", matter="health"), asking("b", matter="health"), asking("c")]
    given(rules).when(ticket("2026-03-01")).then(
        requested("ask", rule="a"), skipped("ask", rule="b", reason="duplicate"), requested("ask", rule="c")
    )


def test_what_comes_too_late_to_help_is_stale():
    given(asking(expires=timedelta(days=2))).when(
        ticket("2026-03-01", recorded="2026-03-02T23:59"), ticket("2026-03-01", "t-2", recorded="2026-03-03")
    ).then(requested("ask", about="t-1"), skipped("ask", reason="stale", about="t-2"))


def test_a_no_is_recorded_once_until_the_reason_changes():
    (
        given(MARKETING)
        .when(ticket("2026-03-01"))
        .then(skipped("ask", reason="consent"))
        .when(ticket("2026-03-02", id="2"), ticket("2026-03-03", id="3"))
        .then_nothing()
        .when(ticket("2026-03-03", "t-2"))
        .then(skipped("ask", reason="consent", about="t-2"))
        .when(allowed("email", at="2026-03-04"), ticket("2026-03-05", id="4"))
        .then(requested("ask", about="t-1"))
        .when(ticket("2026-03-06", id="5"), ticket("2026-03-07", id="6"))
        .then(skipped("ask", reason="duplicate", about="t-1"))
        .when(ticket("2026-03-01", id="7", recorded="2026-03-30"))
        .then(skipped("ask", reason="stale", about="t-1"))
        .when(forbidden("email", at="2026-03-31"), ticket("2026-03-31", id="8"))
        .then(skipped("ask", reason="consent", about="t-1"))
    )


def test_a_yes_makes_the_same_no_news_again():
    story = given(asking(), ticket("2026-03-01")).when(ticket("2026-03-02", id="2"))
    story.then(skipped("ask", reason="duplicate"))
    story.when(ticket("2026-03-20", id="3"), ticket("2026-03-21", id="4")).then(
        requested("ask"), skipped("ask", reason="duplicate")
    )


def test_a_window_shorter_than_a_day_is_told_in_minutes():
    story = given(EMAIL, policy=PolicySettings(cap=0, cap_window=timedelta(hours=2), quiet_hours=None))
    (no,) = story.when(ticket("2026-03-01")).decisions
    assert no.data.detail == "0 follow-ups at least as urgent in the last 120 minutes"


def test_a_longer_window_of_the_cap_finds_what_it_has_to_count():
    """Whatever the engine forgot under a shorter one, it would know again after it has lost its state."""
    nos = []
    for lose in (Ledger.restart, Ledger.forget):
        ledger = Ledger([EMAIL], PolicySettings(cap=2, cap_window=timedelta(days=1), quiet_hours=None))
        ledger.admit(ticket("2026-03-01", "t-1"), ticket("2026-03-11", "t-2"))
        ledger.policy = PolicySettings(cap=2, cap_window=timedelta(days=20), quiet_hours=None)
        lose(ledger)
        (no,) = ledger.admit(ticket("2026-03-12", "t-3"))
        nos.append((no.data.reason, ledger.state()))
    assert nos[0] == nos[1]
    assert nos[0][0] == "cap"


def test_what_the_policy_remembers_is_bounded():
    ledger = Ledger([MARKETING, EMAIL_BY_ANOTHER_NAME], AT_ANY_HOUR)
    for n in range(300):
        ledger.admit(ticket(f"2026-{1 + n // 28:02}-{1 + n % 28:02}", f"t-{n}"))
    remembered = ledger.state()["policy", "acc-1"]["state"]
    assert len(remembered["noes"]) <= 50
    assert len(remembered["open"]) <= 15
    assert len(remembered["contacted"]) <= 15


EMAIL_BY_ANOTHER_NAME = asking("another", channels=("email",))
