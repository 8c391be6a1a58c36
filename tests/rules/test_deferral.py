"""What is asked for at night waits for the morning, and then has to be right still."""

from datetime import time, timedelta

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from engage.events.catalogue.commerce import OrderCompleted
from engage.rules.policy import PolicySettings
from engage.rules.quiet_hours import QuietHours, quiet_until, zone_of
from engage.rules.rule import NoState, Rule, Wake
from engage.services.records import read_event
from engage.testing.events import moment
from engage.testing.rules import given, requested, skipped
from tests.rules.ledger import Ledger, decisions
from tests.rules.probes import Settings, allowed, ask, asking, forbidden, living_in, ordered, ticket

EMAIL = asking(channels=("email",))
MARKETING = asking(purpose="marketing", channels=("email",))
BY_NIGHT = PolicySettings()
NIGHT, MORNING = "2026-03-01T22:30", "2026-03-02T08:00"


def put_off(about="t-1", **more):
    return skipped("ask", reason="quiet_hours", about=about, **more)


def test_a_request_at_night_is_put_off_until_the_morning():
    (
        given(EMAIL, policy=BY_NIGHT)
        .when(ticket(NIGHT))
        .then(put_off())
        .when(time="2026-03-02T07:59:59")
        .then_nothing()
        .when(time=MORNING)
        .then(requested("ask", about="t-1", channels=["email"], why="The ticket is number 1."))
        .when(time="2026-04-01")
        .then_nothing()
    )


def test_a_request_by_day_is_asked_for_at_once():
    given(EMAIL, policy=BY_NIGHT).when(ticket("2026-03-01T20:59")).then(requested("ask"))


def test_a_no_that_puts_off_says_until_when_and_what_for():
    (no,) = given(EMAIL, policy=BY_NIGHT).when(ticket(NIGHT)).decisions
    assert no.data.detail == "it is 22:30 in UTC: put off until 08:00 UTC"
    assert no.data.deferred.until == moment(MORNING)
    assert no.data.deferred.channels == ("email",)


def test_what_is_urgent_and_what_is_for_the_manager_does_not_wait():
    rules = [asking("fire", priority="urgent", channels=("email",)), asking("task")]
    given(rules, policy=BY_NIGHT).when(ticket(NIGHT)).then(requested("ask", rule="fire"), requested("ask", rule="task"))


def test_what_only_the_manager_may_hear_of_does_not_wait():
    rule = asking(purpose="marketing", channels=("email", "manager"))
    given(rule, policy=BY_NIGHT).when(ticket(NIGHT)).then(requested("ask", channels=["manager"]))


def test_the_night_is_that_of_the_account():
    (
        given(EMAIL, living_in("Asia/Tokyo"), living_in("America/New_York", subject="acc-2"), policy=BY_NIGHT)
        .when(ticket("2026-03-01T13:00"), ticket("2026-03-01T13:00", subject="acc-2"))
        .then(put_off(account="acc-1"), requested("ask", account="acc-2"))
        .when(time="2026-03-01T23:00")
        .then(requested("ask", account="acc-1"))
    )


def test_where_the_zone_is_not_known_the_houses_own_counts():
    house = PolicySettings(time_zone="America/New_York")
    for zone in ([], [living_in("Nowhere/Else")]):
        given(EMAIL, *zone, policy=house).when(ticket("2026-03-01T13:00"), ticket("2026-03-02T03:00", "t-2")).then(
            requested("ask", about="t-1"), put_off("t-2")
        )


def test_the_newest_zone_counts_not_the_one_we_heard_of_last():
    story = given(EMAIL, living_in("UTC", at="2026-02-01"), policy=BY_NIGHT)
    story.when(living_in("Asia/Tokyo", at="2026-01-01", recorded="2026-02-02"))
    story.when(ticket("2026-03-01T13:00")).then(requested("ask"))


def test_an_account_that_has_moved_on_meanwhile_sleeps_on():
    (
        given(EMAIL, ticket(NIGHT), policy=BY_NIGHT)
        .when(living_in("America/Los_Angeles", at="2026-03-02T01:00"), time=MORNING)
        .then(put_off())
        .when(time="2026-03-02T16:00")
        .then(requested("ask", about="t-1"))
        .when(time="2026-04-01")
        .then_nothing()
    )


def test_consent_is_checked_anew_in_the_morning():
    night = given(MARKETING, allowed("email"), ticket(NIGHT), policy=BY_NIGHT)
    night.when(forbidden("email", at="2026-03-02T01:00"), time=MORNING).then(skipped("ask", reason="consent"))


def test_what_came_too_late_by_the_morning_is_stale():
    brief = asking(channels=("email",), expires=timedelta(hours=6))
    given(brief, ticket(NIGHT), policy=BY_NIGHT).when(time=MORNING).then(skipped("ask", reason="stale"))


def test_what_was_opened_meanwhile_is_not_asked_for_again_in_the_morning():
    rules = [asking("mail", channels=("email",), matter="m"), asking("task", matter="m")]
    (
        given(rules, policy=BY_NIGHT)
        .when(ticket(NIGHT))
        .then(put_off(rule="mail"), requested("ask", rule="task"))
        .when(time=MORNING)
        .then(skipped("ask", reason="duplicate", rule="mail"))
    )


def test_one_request_on_a_matter_waits():
    (
        given(EMAIL, ticket(NIGHT), policy=BY_NIGHT)
        .when(ticket("2026-03-01T23:00", id="again"))
        .then(skipped("ask", reason="duplicate"))
        .when(time=MORNING)
        .then(requested("ask", why="The ticket is number 1."))
    )


def test_in_the_morning_the_more_urgent_takes_the_slot():
    rules = [asking(name, channels=("email",), priority=name) for name in ("low", "high", "normal")]
    story = given(rules, policy=PolicySettings(cap=1)).when(ticket(NIGHT))
    story.then(*(put_off(rule=name) for name in ("low", "high", "normal")))
    story.when(time=MORNING).then(
        requested("ask", rule="high"),
        skipped("ask", reason="cap", rule="normal"),
        skipped("ask", reason="cap", rule="low"),
    )


def test_of_two_that_are_as_urgent_the_first_takes_the_slot():
    story = given(EMAIL, ticket(NIGHT, "z"), ticket("2026-03-01T23:00", "a"), policy=PolicySettings(cap=1))
    story.when(time=MORNING).then(requested("ask", about="z"), skipped("ask", reason="cap", about="a"))


def test_who_is_held_out_is_left_alone_in_the_morning():
    held = PolicySettings(holdout=1.0)
    (
        given(MARKETING, allowed("email"), policy=held)
        .when(ticket(NIGHT))
        .then(put_off())
        .when(time=MORNING)
        .then(skipped("ask", reason="holdout"))
    )


def test_the_service_level_counts_from_the_morning_and_the_expiry_from_the_cause():
    (asked,) = given(EMAIL, ticket(NIGHT), policy=BY_NIGHT).when(time=MORNING).decisions
    assert asked.data.due == moment("2026-03-03T08:00")
    assert asked.data.expires == moment("2026-03-15T22:30")
    brief = asking(channels=("email",), expires=timedelta(hours=12))
    (asked,) = given(brief, ticket(NIGHT), policy=BY_NIGHT).when(time=MORNING).decisions
    assert asked.data.due == asked.data.expires == moment("2026-03-02T10:30")


def test_when_nobody_was_there_in_the_morning_it_is_asked_for_by_day():
    """The service was down: nobody is woken at midnight because of it."""
    ledger = Ledger([EMAIL])
    ledger.admit(ticket(NIGHT))
    assert [no.data.reason for no in ledger.tick("2026-03-03T00:00")] == ["quiet_hours"]
    assert [yes.type for yes in ledger.tick("2026-03-03T11:00")] == ["follow_up.requested"]
    assert len({each.id for each in decisions(ledger.log)}) == 3


def test_every_night_is_news():
    story = given(EMAIL, policy=BY_NIGHT)
    for day in (1, 2):
        story.when(ticket(f"2026-03-0{day}T22:00", f"t-{day}")).then(put_off(f"t-{day}"))
        story.when(time=f"2026-03-0{day + 1}T09:00").then(requested("ask", about=f"t-{day}"))


def test_the_ids_of_what_was_deferred_are_its_own():
    """Even if the rule is woken about the same at the very moment the night ends."""
    rule = Rule("twice", version=1, settings=Settings(), state=NoState)

    @rule.on(OrderCompleted)
    def now(state, event, settings):
        yield ask("x", channels=("email",))
        yield Wake(moment(MORNING), about="x")

    @rule.on_wake
    def later(state, wake, settings):
        yield ask("x", channels=("email",), matter="another")

    ledger = Ledger([rule])
    ledger.admit(ordered(NIGHT))
    ledger.tick(MORNING)
    told = decisions(ledger.log)
    assert [each.type for each in told] == ["follow_up.skipped", "follow_up.requested", "follow_up.requested"]
    assert len({each.id for each in told}) == 3


@pytest.mark.parametrize("lose", [Ledger.restart, Ledger.forget])
def test_what_waits_survives_whatever_is_lost(lose):
    logs = []
    for strike in (lambda ledger: None, lose):
        ledger = Ledger([EMAIL])
        ledger.admit(ticket(NIGHT), ticket("2026-03-01T23:00", "t-2"))
        strike(ledger)
        ledger.tick(MORNING)
        logs.append([read_event(record) for record in ledger.log])
    assert logs[0] == logs[1]


def test_what_waits_survives_new_settings_and_a_new_version_of_its_rule():
    other = asking(channels=("email",), about="something else")
    other.version = 2
    for lose in (Ledger.restart, Ledger.forget):
        ledger = Ledger([EMAIL])
        ledger.admit(ticket(NIGHT))
        ledger.policy = PolicySettings(quiet_hours=QuietHours(time(22), time(6)))
        ledger.restart([other])
        ledger.tick("2026-03-02T00:00")
        lose(ledger)
        (asked,) = ledger.tick(MORNING)
        assert (asked.data.about, asked.data.rule_version) == ("t-1", 1)


def test_without_quiet_hours_from_now_on_what_waits_comes_when_it_was_promised():
    ledger = Ledger([EMAIL])
    ledger.admit(ticket(NIGHT))
    ledger.policy = PolicySettings(quiet_hours=None)
    ledger.restart()
    assert ledger.tick("2026-03-02T07:59") == []
    assert [each.data.about for each in ledger.tick(MORNING)] == ["t-1"]


def test_what_a_rule_asked_for_that_is_no_more_is_forgotten():
    ledger = Ledger([EMAIL, asking("another")])
    ledger.admit(ticket(NIGHT))
    ledger.restart([asking("another")])
    assert ledger.tick(MORNING) == []
    assert "deferred" not in ledger.state()["policy", "acc-1"]["state"]


def test_what_waits_leaves_nothing_behind():
    ledger = Ledger([asking(channels=("email",), expires=timedelta(hours=1))])
    ledger.admit(ticket(NIGHT))
    ledger.tick(MORNING)
    assert ledger.state()["policy", "acc-1"] == {"state": {"noes": {"asking|t-1": "stale"}}}


def test_what_nobody_ever_comes_for_is_given_up_when_it_is_stale():
    ledger = Ledger([EMAIL])
    for day in range(1, 31):
        ledger.admit(ticket(f"2026-03-{day:02}", f"t-{day}"))
    assert len(ledger.state()["policy", "acc-1"]["state"]["deferred"]) <= 14


moments = st.integers(0, 10 * 24 * 60 - 1).map(lambda minute: moment("2026-03-27") + timedelta(minutes=minute))
homes = st.sampled_from(["Europe/Berlin", "Asia/Kathmandu", "Pacific/Auckland", "Nowhere/Else"])


@for_all(st.lists(moments, min_size=1, max_size=20).map(sorted), homes, st.sampled_from([6, 30, 400]), st.booleans())
def test_every_request_is_asked_for_exactly_once_and_by_day_unless_the_policy_says_no(asked_at, home, hours, refused):
    """Among these nights are those in which the clocks of Berlin and Auckland change."""
    settings = PolicySettings(cap=99)
    rule = asking(channels=("email",), expires=timedelta(hours=hours))
    story = given(rule, living_in(home), policy=settings)
    for number, at in enumerate(asked_at):
        story.when(ticket(at, f"t-{number % 7}", id=f"e-{number}"))
    if refused:
        story.when(forbidden("email", "service", at=asked_at[-1]))
    story.when(time="2026-05-01")
    told = decisions(story.log)
    asked = [each for each in told if each.type == "follow_up.requested"]
    zone = zone_of(home) or zone_of("UTC")
    assert not any(quiet_until(settings.quiet_hours, zone, each.time) for each in asked)
    for night in told:
        if night.type == "follow_up.skipped" and night.data.deferred:
            until = night.data.deferred.until
            followed = [each.time for each in asked if each.data.cause == night.data.cause]
            assert followed == [until] or (not followed and last_word(told, night, until) in NOES)
    assert len({each.id for each in told}) == len(told)


NOES = ("stale", "consent", "duplicate")


def last_word(told, night, until):
    """Why, in the end, nothing was asked for about what was put off at ``night``."""
    words = [each for each in told if each.data.about == night.data.about and each.time <= until]
    return words[-1].data.reason if words[-1].type == "follow_up.skipped" else None
