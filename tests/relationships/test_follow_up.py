"""The follow-up's own rules, without any store: given what happened, when somebody asks, then this."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from engage.events.sealing import AccountKey, new_secret, seal_text
from engage.relationships.aggregate import AccountAggregate
from engage.relationships.commands import Assign, Command, Complete, Dismiss, Snooze, Start
from engage.relationships.errors import ClosedError, CommandError, SnoozeError
from engage.relationships.follow_up import FollowUp
from engage.relationships.mapper import CatalogueMapper
from engage.services.relay import as_published
from engage.testing.projections import given as folded
from projections.shared.follow_ups import follow_ups
from tests.relationships.given import ASKED, DAY, DUE, EXPIRES, a_request, an_id

HOUR = timedelta(hours=1)
LATER = ASKED + HOUR

CLOSINGS: dict[str, Callable[[FollowUp], None]] = {
    "completed": lambda it: it.complete("reached", None, "anna", LATER),
    "dismissed": lambda it: it.dismiss("moved-away", None, "anna", LATER),
    "expired": lambda it: it.expire("engage/desk", EXPIRES),
}
COMMANDS: dict[str, Callable[[FollowUp], None]] = {
    "assign": lambda it: it.assign("ben", "anna", LATER),
    "snooze": lambda it: it.snooze(DUE, "anna", LATER),
    "start": lambda it: it.start("anna", LATER),
    "complete": lambda it: it.complete("reached", None, "anna", LATER),
    "dismiss": lambda it: it.dismiss("moved-away", None, "anna", LATER),
}


@pytest.fixture
def follow_up() -> FollowUp:
    return FollowUp.open(an_id(1), "customer-1", a_request(), "engage/desk", ASKED)


def happened(follow_up: FollowUp) -> list[str]:
    return [type(event).__name__ for event in follow_up.pending_events]


def test_a_follow_up_bears_the_id_of_its_decision_and_what_was_asked(follow_up: FollowUp):
    assert follow_up.id == an_id(1)
    assert (follow_up.account, follow_up.status, follow_up.due, follow_up.expires) == (
        "customer-1",
        "open",
        DUE,
        EXPIRES,
    )
    assert follow_up.request.what == "win back a lapsed customer"


def test_every_command_is_remembered_with_who_and_when(follow_up: FollowUp):
    follow_up.assign("ben", "anna", LATER)
    event = follow_up.pending_events[-1]
    assert isinstance(event, FollowUp.Assigned)
    assert (event.actor, event.timestamp, event.account) == ("anna", LATER, "customer-1")
    assert (event.data.assignee, event.data.follow_up_id) == ("ben", str(an_id(1)))


def test_starting_ends_a_rest(follow_up: FollowUp):
    follow_up.snooze(DUE, "anna", LATER)
    assert (follow_up.status, follow_up.until) == ("snoozed", DUE)
    follow_up.start("anna", LATER + HOUR)
    assert (follow_up.status, follow_up.until) == ("started", None)


def test_assigning_ends_a_rest_which_may_then_be_taken_again(follow_up: FollowUp):
    follow_up.snooze(DUE, "anna", LATER)
    follow_up.assign("ben", "anna", LATER + HOUR)
    assert (follow_up.status, follow_up.assignee, follow_up.until) == ("assigned", "ben", None)
    follow_up.snooze(DUE, "ben", LATER + 2 * HOUR)
    assert (follow_up.status, follow_up.until) == ("snoozed", DUE)
    assert happened(follow_up)[-3:] == ["Snoozed", "Assigned", "Snoozed"]


def test_work_that_was_begun_goes_on_when_it_is_assigned(follow_up: FollowUp):
    follow_up.start("anna", LATER)
    follow_up.assign("ben", "anna", LATER + HOUR)
    assert (follow_up.status, follow_up.assignee) == ("started", "ben")


STEPS: dict[str, Callable[[FollowUp, datetime], None]] = {
    "assign ben": lambda one, at: one.assign("ben", "anna", at),
    "assign eva": lambda one, at: one.assign("eva", "anna", at),
    "snooze": lambda one, at: one.snooze(DUE + DAY, "anna", at),
    "start": lambda one, at: one.start("anna", at),
    "complete": lambda one, at: one.complete("reached", None, "anna", at),
    "dismiss": lambda one, at: one.dismiss("moved-away", None, "anna", at),
}


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=8))
def test_the_queue_says_of_it_what_it_says_itself(commands: list[str]):
    follow_up = FollowUp.open(an_id(1), "customer-1", a_request(), "engage/desk", ASKED)
    for minute, command in enumerate(commands, 1):
        with suppress(ClosedError):
            STEPS[command](follow_up, ASKED + timedelta(minutes=minute))
    told = [
        structs.replace(as_published(event), recorded=event.timestamp)
        for event in follow_up.pending_events
        if isinstance(event, FollowUp.Event)
    ]
    row = folded(follow_ups, *told).rows[str(an_id(1))]
    assert (row.status, row.assignee, row.snoozed_until) == (follow_up.status, follow_up.assignee, follow_up.until)
    assert (row.outcome or row.reason) == follow_up.outcome


def test_completing_keeps_the_outcome_and_dismissing_the_reason(follow_up: FollowUp):
    follow_up.complete("renewed", None, "anna", LATER)
    assert (follow_up.status, follow_up.outcome) == ("completed", "renewed")
    other = FollowUp.open(an_id(2), "customer-2", a_request(2), "engage/desk", ASKED)
    other.dismiss("moved-away", None, "anna", LATER)
    assert (other.status, other.outcome) == ("dismissed", "moved-away")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("closing", CLOSINGS)
def test_nothing_happens_to_a_follow_up_that_is_closed(follow_up: FollowUp, closing: str, command: str):
    CLOSINGS[closing](follow_up)
    before = happened(follow_up)
    with pytest.raises(ClosedError, match=rf"follow-up {an_id(1)} (was )?{closing} on .* take an open one"):
        COMMANDS[command](follow_up)
    assert happened(follow_up) == before


@pytest.mark.parametrize("at", [EXPIRES, EXPIRES + DAY])
def test_a_command_that_comes_too_late_is_refused_even_before_the_expiry_is_recorded(follow_up: FollowUp, at):
    with pytest.raises(ClosedError, match="expired on 2026-03-15"):
        follow_up.start("anna", at)
    assert happened(follow_up) == ["Opened"]


@pytest.mark.parametrize("until", [ASKED, LATER, EXPIRES, EXPIRES + DAY])
def test_it_cannot_rest_into_the_past_nor_until_its_expiry(follow_up: FollowUp, until):
    with pytest.raises(SnoozeError, match=r"choose a moment after .* and before it expires"):
        follow_up.snooze(until, "anna", LATER)


def test_a_command_that_changes_nothing_records_nothing(follow_up: FollowUp):
    for _ in range(2):
        follow_up.assign("ben", "anna", LATER)
        follow_up.snooze(DUE, "anna", LATER)
    for _ in range(2):
        follow_up.start("anna", LATER)
    assert happened(follow_up) == ["Opened", "Assigned", "Snoozed", "Started"]


def test_it_expires_once_at_the_moment_of_its_expiry(follow_up: FollowUp):
    follow_up.expire("engage/desk", EXPIRES - HOUR)
    assert follow_up.status == "open"
    for _ in range(2):
        follow_up.expire("engage/desk", EXPIRES + 3 * DAY)
    assert happened(follow_up) == ["Opened", "Expired"]
    assert follow_up.pending_events[-1].timestamp == EXPIRES


def test_one_that_was_closed_in_time_does_not_expire(follow_up: FollowUp):
    follow_up.complete("reached", None, "anna", LATER)
    follow_up.expire("engage/desk", EXPIRES)
    assert follow_up.status == "completed"


def test_a_note_is_kept_only_when_it_is_sealed(follow_up: FollowUp):
    with pytest.raises(ValueError, match="must be sealed"):
        follow_up.complete("reached", "her mother is ill", "anna", LATER)
    sealed = seal_text("her mother is ill", AccountKey(1, new_secret()), "customer-1")
    follow_up.complete("reached", sealed, "anna", LATER)
    event = follow_up.pending_events[-1]
    assert isinstance(event, FollowUp.Completed)
    assert event.data.note == sealed


def test_a_clock_that_runs_behind_does_not_turn_the_story_back(follow_up: FollowUp):
    follow_up.assign("ben", "anna", LATER)
    follow_up.start("ben", LATER - HOUR)
    assert [event.timestamp for event in follow_up.pending_events] == [ASKED, LATER, LATER]


moments = st.timedeltas(min_value=-DAY, max_value=16 * DAY).map(lambda after: ASKED + after)
common = {"id": st.just(an_id(1)), "actor": st.just("anna"), "at": moments}
commands = st.one_of(
    st.builds(Assign, assignee=st.sampled_from(["ben", "eva"]), **common),
    st.builds(Snooze, until=moments, **common),
    st.builds(Start, **common),
    st.builds(Complete, outcome=st.just("reached"), note=st.none(), **common),
    st.builds(Dismiss, reason=st.just("moved-away"), note=st.none(), **common),
)


@given(st.lists(commands, max_size=12))
def test_whatever_people_ask_the_story_only_goes_forward_ends_once_and_tells_the_same_when_read_again(
    asked: list[Command],
):
    follow_up = FollowUp.open(an_id(1), "customer-1", a_request(), "engage/desk", ASKED)
    for command in asked:
        try:
            command.apply(follow_up)
        except CommandError as error:
            assert str(an_id(1)) in str(error)
    follow_up.expire("engage/desk", EXPIRES)

    events = [event for event in follow_up.collect_events() if isinstance(event, AccountAggregate.Event)]
    assert [event.timestamp for event in events] == sorted(event.timestamp for event in events)
    assert [event.closes for event in events] == [False] * (len(events) - 1) + [True]
    mapper = CatalogueMapper((FollowUp,))
    read = [mapper.to_domain_event(mapper.to_stored_event(event)) for event in events]
    again: FollowUp | None = reduce(lambda so_far, event: event.mutate(so_far), read, None)  # type: ignore[attr-defined]
    assert again == follow_up
