"""The engine's memory: who is not heard of sleeps as bytes, and nobody notices."""

import gc
import tracemalloc
from datetime import datetime, timedelta
from unittest.mock import patch

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from engage.events.catalogue.commerce import CartViewed, OrderCompleted, OrderDelivered
from engage.events.catalogue.consent import ConsentGiven
from engage.events.catalogue.support import TicketOpened
from engage.rules import cells
from engage.rules.cell import Armed
from engage.rules.cells import Cells
from engage.rules.engine import Engine
from engage.rules.rule import NoState, Rule
from engage.testing.events import happened, moment
from streams import RULES
from tests.rules.ledger import Ledger
from tests.rules.probes import Seen, Settings, asking, ticket
from tests.rules.test_recovery import PLAIN_HISTORY, live, told

START = moment("2026-01-01")


@for_all(PLAIN_HISTORY)
def test_accounts_that_sleep_whenever_they_can_are_decided_on_as_if_they_were_awake(steps):
    with patch.object(cells, "MOST_AWAKE", 0):
        sleepers = live(steps)
    awake = live(steps)
    assert told(sleepers) == told(awake)
    assert sleepers.state() == awake.state()


@for_all(st.lists(st.tuples(st.sampled_from(["a", "b", "forget a", "pass"]), st.integers(0, 20)), max_size=40))
def test_a_wake_fires_at_the_moment_that_was_said_last_however_often_it_was_moved(steps):
    waiting: dict[str, datetime] = {}
    with patch.object(cells, "_COMPACT_FROM", 3):
        held = Cells({"rule": NoState})
        row = held.row("acc-1")
        cell = held.of("rule").get(row)
        for step, minute in steps:
            at = START + timedelta(minutes=minute)
            if step == "pass":
                fired = list(iter(lambda now=at: held.pop_due(now), None))
                due = sorted((when, about) for about, when in waiting.items() if when <= at)
                assert [(wake[4].fires, wake[3]) for wake in fired] == due
                waiting = {about: when for about, when in waiting.items() if when > at}
            elif step == "forget a":
                cell.wakes.pop("a", None)
                waiting.pop("a", None)
            else:
                held.arm(row, cell, "rule", step, Armed(at, at, "e-1", "test", 0))
                waiting[step] = at
            assert held.next_due() == min(waiting.values(), default=None)


def test_a_wake_that_is_put_off_every_day_keeps_one_timer():
    held = Cells({"rule": NoState})
    row = held.row("acc-1")
    cell = held.of("rule").get(row)
    for day in range(100):
        at = START + timedelta(days=day)
        held.arm(row, cell, "rule", "order", Armed(at, at, "e-1", "test", 0))
    assert len(held.timers) == 1


@pytest.mark.parametrize("sooner", ["forgotten", "moved forward"])
def test_a_wake_that_is_set_anew_at_every_event_leaves_few_timers(sooner):
    held = Cells({"rule": NoState})
    row = held.row("acc-1")
    cell = held.of("rule").get(row)
    for number in range(10_000):
        at = START + timedelta(days=30, minutes=number)
        if sooner == "forgotten":
            cell.wakes.pop("order", None)
        else:
            soon = at - timedelta(hours=1)
            held.arm(row, cell, "rule", "order", Armed(soon, soon, "e-1", "test", 0))
        held.arm(row, cell, "rule", "order", Armed(at, at, "e-1", "test", 0))
    assert len(held.timers) < 2_000
    assert held.next_due() == at


def test_who_is_parked_is_known_while_all_others_sleep():
    rule = Rule("bad", version=1, settings=Settings(), state=Seen)

    @rule.on(TicketOpened)
    def opened(state, event, settings):
        raise ZeroDivisionError("no")

    with patch.object(cells, "MOST_AWAKE", 0):
        ledger = Ledger([rule])
        ledger.admit(ticket("2026-03-01"))
        for number in range(3):
            ledger.admit(ticket("2026-03-02", subject=f"other-{number}"))
        kept = ledger.runner.engine.cells
        assert ("bad", "acc-1") in [key for key, _ in kept.parked()]
        assert kept.is_parked(("bad", "acc-1"))
        assert not kept.is_parked(("bad", "nobody"))
        assert ledger.admit(ticket("2026-03-03", "t-2")) == []


def test_a_cell_that_is_as_it_was_is_not_written_again():
    rule = Rule("knowing", version=1, settings=Settings(), state=Seen)

    @rule.on(TicketOpened)
    def opened(state, event, settings):
        state.count = 1

    ledger = Ledger([rule])
    ledger.admit(ticket("2026-03-01"))
    assert ledger.cells["knowing", "acc-1"] == b'{"state":{"count":1}}'
    ledger.runner.admit(ticket("2026-03-02", "t-2"), moment("2026-03-02"))
    assert ledger.runner.engine.cells.changes() == []


def test_what_was_forgotten_twice_is_given_up_where_it_is_stored():
    ledger = Ledger([asking()])
    ledger.admit(ticket("2026-03-01"))
    kept = ledger.runner.engine.cells
    kept.drop("asking")
    kept.drop("asking")
    kept.give_up(("asking", "acc-1"))
    assert kept.changes() == [("asking", "acc-1", None)]


def test_a_damaged_cell_is_its_rules_alone():
    ledger = Ledger([asking("one"), asking("two")])
    ledger.admit(ticket("2026-03-01"))
    ledger.cells["one", "acc-1"] = b'{"state":\n"nothing"}'
    ledger.restart()
    decided = ledger.admit(ticket("2026-03-02", "t-2"))
    assert [each.data.rule for each in decided] == ["two"]
    assert [(failure.rule, failure.account) for failure in ledger.failures] == [("one", "acc-1")]


WEEK = (
    ConsentGiven(channel="email", purpose="marketing"),
    CartViewed(cart_id="c-1"),
    OrderCompleted(order_id="o-1", total=10.0),
    OrderDelivered(order_id="o-1"),
    OrderCompleted(order_id="o-2", total=20.0),
    TicketOpened(ticket_id="t-1"),
)


def asleep(accounts):
    """An engine of all rules after the week of so many customers, who sleep, and the bytes that it gave out."""
    engine, offset, written = Engine(0, RULES), 0, 0
    # Who was heard of last is awake, and who was before that drowsy.
    for account in [*(f"acc-{number}" for number in range(accounts)), "second-last", "last"]:
        for day, data in enumerate(WEEK):
            event = happened(data, at=START + timedelta(days=day), recorded=START, subject=account)
            event.partition, event.offset = 0, offset
            offset += 1
            engine.fold(event)
        written += sum(len(value) for _, _, value in engine.cells.changes() if value)
    return engine, written


def test_an_account_that_sleeps_takes_little_more_than_what_is_stored_of_it_and_its_timers():
    sizes = []
    with patch.object(cells, "MOST_AWAKE", 0):
        asleep(1)
        tracemalloc.start()
        try:
            for accounts in (100, 400):
                gc.collect()
                before = tracemalloc.get_traced_memory()[0]
                engine, written = asleep(accounts)
                gc.collect()
                sizes.append((tracemalloc.get_traced_memory()[0] - before, written, len(engine.cells.timers)))
                engine = None
        finally:
            tracemalloc.stop()
    size, written, timers = (most - fewest for fewest, most in zip(*sizes, strict=True))
    assert (timers, written) > (300, 300 * 500)
    assert size < 1.3 * written + 200 * timers
