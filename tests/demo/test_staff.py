"""Simulated managers: the same follow-up is always dealt with in the same way, and each rule has its habits."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from engage.demo.staff import HABITS, USUAL, act
from streams import RULES

ASKED = datetime(2026, 3, 1, 9, tzinfo=UTC)
EXPIRES = ASKED + timedelta(days=14)


def acts(rule, expires=EXPIRES):
    return [act(str(UUID(int=number)), rule, ASKED, expires) for number in range(2_000)]


def test_the_same_follow_up_is_always_dealt_with_in_the_same_way():
    assert acts("win-back") == acts("win-back")


@pytest.mark.parametrize("rule", [*HABITS, "a rule of somebody's own"])
def test_shares_and_codes_are_those_of_the_rule(rule):
    habit = HABITS.get(rule, USUAL)
    done = [action for action in acts(rule) if action is not None]
    verbs = Counter(action.verb for action in done)
    # Some who would have acted come too late.
    assert 0.85 * habit.completed < verbs["complete"] / 2_000 < habit.completed + 0.03
    assert verbs["dismiss"] / 2_000 < habit.dismissed + 0.03
    assert {action.code for action in done if action.verb == "complete"} == set(habit.outcomes)
    assert {action.code for action in done if action.verb == "dismiss"} == set(habit.reasons)


def test_nobody_acts_before_they_are_asked_or_after_it_expired():
    expires = ASKED + timedelta(hours=12)
    done = [action for action in acts("win-back", expires) if action is not None]
    assert done
    assert all(ASKED < action.at < expires for action in done)


def test_every_rule_has_habits():
    assert {rule.name for rule in RULES} <= HABITS.keys()
