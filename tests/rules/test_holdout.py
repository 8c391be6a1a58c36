"""Who is held out: the same accounts each time, about as many as said, so that what a rule brings can be measured."""

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from engage.rules.policy import PolicySettings, is_held_out
from engage.testing.rules import given, requested, skipped
from tests.rules.probes import allowed, asking, ticket

ALL = PolicySettings(holdout=1.0, quiet_hours=None)
HALF = PolicySettings(holdout=0.5, quiet_hours=None)
MARKETING = asking(purpose="marketing", channels=("email",))


def test_who_is_held_out_is_not_asked_for_and_it_is_said_once():
    (
        given(MARKETING, allowed("email"), policy=ALL)
        .when(ticket("2026-03-01"), ticket("2026-03-02", id="again"))
        .then(skipped("ask", reason="holdout", about="t-1"))
    )


def test_only_marketing_is_held_out_unless_settings_say_otherwise():
    given(asking(), policy=ALL).when(ticket("2026-03-01")).then(requested("ask"))
    service = PolicySettings(holdout=1.0, holdout_purposes=("service",), quiet_hours=None)
    given(asking(), policy=service).when(ticket("2026-03-01")).then(skipped("ask", reason="holdout"))
    given(MARKETING, allowed("email"), policy=service).when(ticket("2026-03-01")).then(requested("ask"))


def test_nobody_is_held_out_who_would_not_have_been_asked():
    """Otherwise the two groups would differ in more than the follow-up."""
    given(MARKETING, policy=ALL).when(ticket("2026-03-01")).then(skipped("ask", reason="consent"))
    capped = PolicySettings(holdout=1.0, cap=0, quiet_hours=None)
    given(MARKETING, allowed("email"), policy=capped).when(ticket("2026-03-01")).then(skipped("ask", reason="cap"))


def test_who_is_held_out_takes_no_slot_from_others():
    once = PolicySettings(holdout=1.0, cap=1, quiet_hours=None)
    other = asking("other", channels=("email",))
    given([MARKETING, other], allowed("email"), policy=once).when(ticket("2026-03-01")).then(
        skipped("ask", reason="holdout", rule="asking"), requested("ask", rule="other")
    )


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_about_the_share_of_accounts_is_held_out(share):
    held = sum(is_held_out("win-back", f"acc-{number}", share) for number in range(4_000))
    assert abs(held / 4_000 - share) < 0.03


def test_each_rule_has_a_group_of_its_own():
    groups = [{n for n in range(400) if is_held_out(rule, f"acc-{n}", 0.5)} for rule in ("a", "b")]
    assert 120 < len(groups[0] ^ groups[1]) < 280


@for_all(st.text(), st.text(), st.floats(0, 1), st.floats(0, 1))
def test_who_was_held_out_stays_so_when_the_share_grows(rule, account, one, other):
    smaller, larger = sorted((one, other))
    assert is_held_out(rule, account, smaller) <= is_held_out(rule, account, larger)
    assert is_held_out(rule, account, 1.0)
    assert not is_held_out(rule, account, 0.0)


def test_an_account_gets_the_same_answer_whenever_it_is_asked():
    answers = set()
    for day in ("2026-03-01", "2026-06-01"):
        for account in ("acc-1", "acc-2", "acc-3", "acc-4", "acc-5", "acc-6"):
            story = given(MARKETING, allowed("email", subject=account), policy=HALF)
            (decision,) = story.when(ticket(day, subject=account)).decisions
            answers.add((account, decision.type))
    assert len(answers) == 6
    assert len({kind for _, kind in answers}) == 2
