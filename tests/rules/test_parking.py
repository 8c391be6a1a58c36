"""A rule that fails stops for that account alone, and says so; nothing else waits."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
import pytest
from msgspec import Struct
from msgspec.structs import replace

from engage.events import codec
from engage.events.catalogue.consent import ConsentWithdrawn
from engage.events.catalogue.follow_up import Purpose
from engage.events.catalogue.support import TicketOpened
from engage.rules.rule import FollowUpRequest, NoState, Rule, Wake
from engage.testing.events import happened
from tests.rules.ledger import Ledger
from tests.rules.probes import Settings, ask, asking, ticket

TOMORROW = datetime(2026, 3, 4, tzinfo=UTC)


class Channel(StrEnum):
    EMAIL, SERVICE, NORMAL = "email", "service", "normal"


class Remembers(Struct):
    seen: Any = None


def bad(*effects, name="bad", only="acc-1", when_woken=False):
    """A rule that yields ``effects`` (raises those that are exceptions) for one account."""
    rule = Rule(name, version=1, settings=Settings(), state=NoState)

    def misbehave():
        for effect in effects:
            if isinstance(effect, Exception):
                raise effect
            yield effect

    @rule.on(TicketOpened)
    def opened(state, event, settings):
        if event.subject != only:
            yield ask("good")
        elif when_woken:
            yield Wake(event.time + timedelta(days=1), about="bad")
        else:
            yield from misbehave()

    @rule.on_wake
    def woken(state, wake, settings):
        yield from misbehave()

    return rule


GARBAGE = [
    ZeroDivisionError("no"),
    None,
    "a text",
    42,
    Wake(datetime(2026, 4, 1), about="a moment without a zone"),
    Wake("2026-04-01", about="a moment that is none"),  # type: ignore[arg-type]
    Wake(ticket("2026-04-01").time, about=7),  # type: ignore[arg-type]
    ask(""),
    ask("o-1", why="x" * 1001),
    ask("o-1", what=None),
    ask("o-1", priority="at once"),
    ask("o-1", purpose="fun"),
    ask("o-1", channels=None),
    ask("o-1", channels=(1,)),
    ask("o-1", due="soon"),
    ask("o-1", expires=timedelta.max),
    ask("o-1", matter=3),
]


@pytest.mark.parametrize("effect", GARBAGE, ids=repr)
@pytest.mark.parametrize("when_woken", [False, True])
def test_a_rule_that_raises_or_yields_garbage_is_parked_for_that_account_alone(effect, when_woken):
    ledger = Ledger([asking(), bad(effect, when_woken=when_woken)])
    ledger.admit(ticket("2026-03-01"), ticket("2026-03-01", subject="acc-2"))
    decided = ledger.tick("2026-03-03") + ledger.admit(
        ticket("2026-03-04", "t-2"), ticket("2026-03-04", "t-2", subject="acc-2")
    )
    assert [(failure.rule, failure.account) for failure in ledger.failures] == [("bad", "acc-1")]
    assert "Traceback" in ledger.failures[0].traceback
    found = [(each.data.rule, each.subject) for each in decided]
    assert found == [("asking", "acc-1"), ("asking", "acc-2"), ("bad", "acc-2")]
    (((rule, account), parked),) = ledger.runner.engine.cells.parked()
    assert (rule, account) == ("bad", "acc-1")
    assert parked.event_id == ledger.failures[0].event_id == ticket("2026-03-01").id


class Matter(StrEnum):
    ONE = "o-1"


class Reminder(FollowUpRequest, frozen=True, kw_only=True):
    purpose: Purpose = "service"


PLAIN = FollowUpRequest(what="call", why="why", about="o-1", purpose="service", channels=("email",), matter="o-1")


@pytest.mark.parametrize(
    "request_",
    [
        replace(PLAIN, about=Matter.ONE),
        replace(PLAIN, matter=Matter.ONE),
        replace(PLAIN, channels=(Channel.EMAIL,)),
        replace(PLAIN, purpose=Channel.SERVICE, priority=Channel.NORMAL),
        Reminder(what="call", why="why", about="o-1", channels=("email",), matter="o-1"),
    ],
    ids=repr,
)
def test_a_request_made_with_classes_of_the_rules_own_is_the_same_request(request_):
    decided, plainly = ([], [])
    for asked, found in ((request_, decided), (PLAIN, plainly)):
        found += Ledger([bad(asked)]).admit(ticket("2026-03-01"), ticket("2026-03-02", "t-2"))
    assert [codec.encode(each) for each in decided] == [codec.encode(each) for each in plainly] != []


class Later(Wake, frozen=True):
    pass


@pytest.mark.parametrize("wake", [Wake(TOMORROW, about=Matter.ONE), Later(TOMORROW, about="o-1")], ids=repr)
def test_a_wake_made_with_classes_of_the_rules_own_is_kept_as_any_other(wake):
    ledger, plainly = Ledger([bad(wake)]), Ledger([bad(Wake(TOMORROW, about="o-1"))])
    assert ledger.admit(ticket("2026-03-01")) == plainly.admit(ticket("2026-03-01"))
    assert ledger.failures == []
    assert ledger.cells == plainly.cells != {}


@pytest.mark.parametrize("odd", ["purpose", "priority", "channels"])
def test_a_request_with_what_can_be_no_json_parks_its_account(odd):
    """It equals a plain text; nothing can be written of it, and the log of the partition would stand still."""

    class Odd(str):
        __slots__ = ()

    values = {"purpose": Odd("service"), "priority": Odd("normal"), "channels": (Odd("email"),)}
    ledger = Ledger([bad(replace(PLAIN, **{odd: values[odd]}))])
    assert ledger.admit(ticket("2026-03-01")) == []
    assert [failure.rule for failure in ledger.failures] == ["bad"]


def test_a_wake_that_asks_to_be_woken_in_its_own_past_is_parked():
    """It would never come to an end."""
    due = ticket("2026-03-02").time
    ledger = Ledger([bad(Wake(due, about="again"), when_woken=True)])
    ledger.admit(ticket("2026-03-01"))
    ledger.tick("2026-03-03")
    assert "ask for later" in ledger.failures[0].traceback


def test_what_was_asked_for_before_the_failure_in_the_same_breath_is_not_asked_for():
    ledger = Ledger([bad(ask("o-1"), ZeroDivisionError("no"))])
    assert ledger.admit(ticket("2026-03-01")) == []


def test_the_timers_of_a_parked_account_wait_too():
    ledger = Ledger([bad(Wake(ticket("2026-03-05").time, about="later"), "garbage")])
    ledger.admit(ticket("2026-03-01"))
    assert ledger.runner.engine.cells.next_due() is None
    assert ledger.tick("2026-03-10") == []


def test_a_parked_account_is_still_parked_after_a_restart():
    ledger = Ledger([bad("garbage")])
    ledger.admit(ticket("2026-03-01"))
    ledger.restart()
    assert ledger.admit(ticket("2026-03-02", "t-2")) == []
    assert len(ledger.failures) == 1
    assert [key for key, _ in ledger.runner.engine.cells.parked()] == [("bad", "acc-1")]


def test_a_new_version_of_the_rule_takes_the_account_up_again():
    ledger = Ledger([bad("garbage")])
    ledger.admit(ticket("2026-03-01"))
    mended = Rule("bad", version=2, settings=Settings(), state=NoState)

    @mended.on(TicketOpened)
    def opened(state, event, settings):
        yield ask(event.data.ticket_id)

    ledger.restart([mended])
    (decision,) = ledger.admit(ticket("2026-03-02", "t-2"))
    assert decision.data.about == "t-2"
    assert list(ledger.runner.engine.cells.parked()) == []


def test_a_record_that_can_no_longer_be_read_stops_its_account_and_nobody_else():
    ledger = Ledger([asking()])
    spoiled = ticket("2026-03-01")
    spoiled.data = msgspec.Raw(b'{"ticket_id": 5}')
    ledger.admit(spoiled)
    assert [(failure.account, failure.event_id) for failure in ledger.failures] == [("acc-1", spoiled.id)]
    assert ledger.admit(ticket("2026-03-02", "t-2")) == []
    (decision,) = ledger.admit(ticket("2026-03-03", "t-3", subject="acc-2"))
    assert decision.subject == "acc-2"


def test_a_record_older_than_its_type_is_no_fault_and_nobody_waits():
    ledger = Ledger([asking()])
    old = ticket("2026-03-01")
    old.data = msgspec.Raw(b'{"undeclared": "sealed:1:AAAA"}')
    assert ledger.admit(old) == []
    assert ledger.failures == []
    (decision,) = ledger.admit(ticket("2026-03-02", "t-2"))
    assert (decision.data.about, decision.data.why) == ("t-2", "The ticket is number 1.")


def test_a_state_that_cannot_be_written_down_stops_its_account_and_nobody_else():
    odd = Rule("odd", version=1, settings=Settings(), state=Remembers)

    @odd.on(TicketOpened)
    def opened(state, event, settings):
        state.seen = object() if event.subject == "acc-1" else 1

    ledger = Ledger([odd, asking()])
    assert len(ledger.admit(ticket("2026-03-01"), ticket("2026-03-01", subject="acc-2"))) == 2
    assert [(failure.rule, failure.account) for failure in ledger.failures] == [("odd", "acc-1")]
    ledger.restart()
    assert [key for key, _ in ledger.runner.engine.cells.parked()] == [("odd", "acc-1")]


def test_a_stored_state_that_is_damaged_stops_its_account_and_nobody_else():
    ledger = Ledger([asking()])
    ledger.admit(ticket("2026-03-01"), ticket("2026-03-01", subject="acc-2"))
    ledger.cells["asking", "acc-1"] = b'{"state":{"count":"many"}}'
    ledger.restart()
    assert ledger.admit(ticket("2026-03-02", "t-2")) == []
    assert [(failure.rule, failure.account) for failure in ledger.failures] == [("asking", "acc-1")]
    (decision,) = ledger.admit(ticket("2026-03-03", "t-2", subject="acc-2"))
    assert decision.data.why == "The ticket is number 2."
    ledger.restart()
    assert [key for key, _ in ledger.runner.engine.cells.parked()] == [("asking", "acc-1")]


def test_when_a_word_on_consent_cannot_be_read_nobody_is_contacted():
    ledger = Ledger([asking(channels=("email",))])
    spoiled = happened(ConsentWithdrawn(channel="email", purpose="service"), at="2026-03-01")
    spoiled.data = msgspec.Raw(b'{"channel": 5}')
    ledger.admit(spoiled)
    assert [(failure.rule, failure.account) for failure in ledger.failures] == [("policy", "acc-1")]
    (refused,) = ledger.admit(ticket("2026-03-02"))
    assert refused.data.reason == "consent"
    (asked,) = ledger.admit(ticket("2026-03-02T12:00", subject="acc-2"))
    assert asked.type == "follow_up.requested"


def test_a_wake_that_is_set_again_and_again_is_one_timer():
    again = Rule("again", version=1, settings=Settings(), state=NoState)

    @again.on(TicketOpened)
    def opened(state, event, settings):
        yield Wake(event.time + timedelta(days=400), about="silence")

    ledger = Ledger([again])
    for hour in range(5_000):
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour / 100)
        ledger.admit(ticket(at, f"t-{hour}"))
    assert len(ledger.runner.engine.cells.timers) < 2_000
    assert ledger.runner.engine.cells.next_due() == at + timedelta(days=400)
