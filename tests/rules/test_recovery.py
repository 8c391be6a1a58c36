"""Whatever is lost, and whenever: the engine goes on as if nothing had happened, and decides nothing twice."""

from __future__ import annotations

from copy import copy
from datetime import time, timedelta, timezone

import msgspec
import pytest
from hypothesis import assume
from hypothesis import given as for_all
from hypothesis import strategies as st
from msgspec import Struct

import streams
from engage.events.catalogue.agreements import AgreementSigned
from engage.events.catalogue.commerce import OrderCancelled, OrderCompleted, OrderDelivered, OrderUpdated
from engage.events.catalogue.consent import ConsentGiven, ConsentWithdrawn
from engage.events.catalogue.deliveries import DeliveryPromised, DeliveryReceived
from engage.events.catalogue.follow_up import FollowUpCompleted
from engage.events.catalogue.profile import AccountIdentified
from engage.events.catalogue.support import TicketAnswered, TicketOpened
from engage.events.catalogue.surveys import SurveyAnswered
from engage.events.catalogue.tutorials import TutorialStarted, TutorialStepCompleted
from engage.rules.policy import PolicySettings
from engage.rules.quiet_hours import QuietHours
from engage.rules.rule import MANAGER, Rule
from engage.services.records import read_event
from engage.testing.events import happened, moment
from tests.rules.ledger import Ledger, decisions
from tests.rules.probes import Seen, Settings, ask, asking, ordered, reminder, ticket, updated

START = moment("2026-01-01")
DAY = timedelta(days=1)


def moody(version: int = 1):
    """Breaks at the fifth order, and until then asks at every one, in words that hold the zone of its moment."""
    rule = Rule("moody", version=version, settings=Settings(), state=Seen)

    @rule.on(OrderCompleted)
    def bought(state, event, settings):
        state.count += version
        if state.count > 4:
            raise RuntimeError("it is too much")
        yield ask(f"{event.time:%H:%M %z}", channels=("email",), priority="high" if state.count % 2 else "low")

    return rule


RULES = [*streams.RULES, reminder(after=2 * DAY), asking(channels=("email", MANAGER)), moody()]
POLICIES = [
    PolicySettings(),
    PolicySettings(quiet_hours=None, cap=1, cap_window=20 * DAY),
    PolicySettings(quiet_hours=QuietHours(time(0), time(16)), time_zone="Asia/Kathmandu", holdout=0.5),
]
LATER = [*streams.RULES, reminder(after=4 * DAY, version=2), asking(channels=("email",)), moody(version=2)]


def events_at(kind, number, time):
    name, day = f"x-{number}", DAY * (number % 5)
    return {
        "order": OrderCompleted(order_id=name, total=1.0 * number),
        "update": OrderUpdated(order_id=name, total=1.0),
        "cancel": OrderCancelled(order_id=name),
        "deliver": OrderDelivered(order_id=name),
        "answer": SurveyAnswered(survey_id="s", kind="nps", score=3, order_id=name),
        "ticket": TicketOpened(ticket_id=name, priority=("low", "normal", "high", "urgent")[number % 4]),
        "reply": TicketAnswered(ticket_id=name),
        "learn": TutorialStarted(tutorial_id=name, steps=5),
        "step": TutorialStepCompleted(tutorial_id=name, step=1 + number),
        "yes": ConsentGiven(channel="email", purpose="marketing"),
        "no": ConsentWithdrawn(channel="*", purpose=("marketing", "research")[number % 2]),
        "move": AccountIdentified(time_zone=("Asia/Tokyo", "America/New_York", "Nowhere/Else")[number % 3]),
        "sign": AgreementSigned(agreement_id=name, title="A", starts=time, ends=time + 20 * day, notice_days=number),
        "promise": DeliveryPromised(delivery_id=name, promised=time + day - DAY),
        "receive": DeliveryReceived(delivery_id=name, promised=time - day, units_ordered=1, units_received=1),
    }[kind]


KINDS = ["order", "update", "cancel", "deliver", "answer", "ticket", "reply", "learn", "step", "yes", "no"]
KINDS += ["sign", "promise", "receive", "move", "complete", "tick", "upgrade", "retune", "order", "order", "ticket"]
STEP = st.tuples(
    st.sampled_from(KINDS),
    st.integers(0, 2),
    st.sampled_from(["acc-1", "acc-2"]),
    st.sampled_from([0, 0, 1, 20, 600, 1_440, 5_000, 20_000]),  # minutes since the step before
    st.sampled_from([0, 0, 0, 5, 90, 3_000, 30_000]),  # minutes until the log learned of it
    st.sampled_from([0, 0, 2, -7]),  # hours of its UTC offset
)
HISTORY = st.integers(0, 40).flatmap(lambda size: st.lists(STEP, min_size=size, max_size=size))
PLAIN_HISTORY = HISTORY.map(lambda steps: [step for step in steps if step[0] not in ("upgrade", "retune")])


def live(steps, crash=lambda ledger, number: None):
    """Live through the steps; ``crash`` may strike after each of them."""
    ledger, now, version = Ledger(RULES), START, 0
    for number, (kind, which, account, after, late, zone) in enumerate(steps):
        now += timedelta(minutes=after)
        if kind == "tick":
            ledger.tick(now)
        elif kind == "upgrade":
            version += 1
            ledger.restart(LATER if version % 2 else RULES)
            ledger.tick(now)  # the clock activates them
        elif kind == "retune":
            ledger.policy = POLICIES[which]
            ledger.restart()
            ledger.tick(now)
        elif kind == "complete":
            asked = [each for each in decisions(ledger.log) if each.type == "follow_up.requested"]
            if asked:
                chosen = asked[which % len(asked)]
                done = FollowUpCompleted(follow_up_id=chosen.id, outcome="reached")
                ledger.admit(happened(done, at=now, subject=chosen.subject, id=f"done-{number}"))
        else:
            time = (now - timedelta(minutes=late)).astimezone(timezone(timedelta(hours=zone)))
            data = events_at(kind, which, time)
            ledger.admit(happened(data, at=time, recorded=now, subject=account, id=f"e-{number}"))
        crash(ledger, number)
    for days in (1, 2, 4, 8, 30, 90, 400):
        ledger.tick(now + days * DAY)
    return ledger


def told(ledger):
    return [read_event(record) for record in ledger.log]


@for_all(HISTORY, st.sets(st.integers(0, 39), max_size=4))
def test_a_restart_at_any_moment_changes_nothing(steps, crashes):
    restarted = live(steps, lambda ledger, number: ledger.restart() if number in crashes else None)
    undisturbed = live(steps)
    assert told(restarted) == told(undisturbed)
    assert restarted.state() == undisturbed.state()


@for_all(HISTORY, st.sets(st.integers(0, 39), max_size=3))
def test_lost_state_is_folded_from_the_log_and_nothing_is_decided_twice(steps, crashes):
    def lose(ledger, number):
        if number in crashes:
            before, state = len(ledger.log), ledger.state()
            ledger.forget()
            assert len(ledger.log) == before
            assert ledger.state() == state

    forgetful, undisturbed = live(steps, lose), live(steps)
    assert told(forgetful) == told(undisturbed)
    assert forgetful.state() == undisturbed.state()


@for_all(PLAIN_HISTORY, st.data())
def test_what_was_recorded_and_not_yet_decided_is_decided_as_it_would_have_been(steps, data):
    undisturbed = live(steps)
    ends = [
        offset
        for offset, event in enumerate(told(undisturbed))
        if event.type not in ("rule.activated", "follow_up.requested", "follow_up.skipped")
    ]
    assume(ends)
    last = data.draw(st.sampled_from(ends))
    ledger = Ledger(RULES)
    ledger.log = undisturbed.log[: last + 1]
    ledger.forget()
    expected = [each for each in decisions(undisturbed.log) if each.data.decided_at == last]
    assert decisions(ledger.log[last + 1 :]) == expected


@for_all(PLAIN_HISTORY)
def test_rules_that_read_a_log_somebody_else_writes_decide_the_same(steps):
    undisturbed = live(steps)
    reader = Ledger(RULES)
    decided = reader.runner.fold(undisturbed.log)
    assert [(each.id, each.data, each.time) for each in decided] == [
        (each.id, each.data, each.time) for each in decisions(undisturbed.log)
    ]


def test_the_same_moment_told_in_two_zones_is_one_moment_before_and_after_a_restart():
    logs = []
    for restart in (False, True):
        ledger = Ledger([reminder()])
        ledger.admit(ordered("2026-03-01T02:00+02:00"), updated("2026-03-01T00:00"))
        if restart:
            ledger.restart()
        ledger.tick("2026-03-10")
        logs.append(told(ledger))
    assert logs[0] == logs[1]


def test_a_lost_engine_keeps_its_word_on_what_is_open():
    ledger = Ledger([asking()])
    ledger.admit(ticket("2026-03-01"))
    ledger.forget()
    (decision,) = ledger.admit(ticket("2026-03-02", id="again"))
    assert decision.data.reason == "duplicate"


@pytest.mark.parametrize("lose", [Ledger.restart, Ledger.forget])
def test_the_id_of_a_decision_survives_a_restart_between_wake_and_firing(lose):
    ids = set()
    for strike in (lambda ledger: None, lose):
        ledger = Ledger([reminder()])
        ledger.admit(ordered("2026-03-01T12:00+02:00"))
        strike(ledger)
        ids.update(decision.id for decision in ledger.tick("2026-03-10"))
    assert len(ids) == 1


class Counted(Struct):
    """What ``Seen`` might become without anybody thinking of the rule's version."""

    count: str = ""


def test_a_state_of_another_shape_is_folded_anew_though_nobody_touches_the_account():
    ledger = Ledger([asking()])
    ledger.admit(ticket("2026-03-01"), ticket("2026-03-01", subject="acc-2"))
    changed = copy(asking())
    changed.state = Counted
    ledger.restart([changed])
    activations = [read_event(record).type for record in ledger.log].count("rule.activated")
    ledger.admit(ticket("2026-03-02", subject="acc-3"))
    assert [read_event(record).type for record in ledger.log].count("rule.activated") == activations + 1


def test_a_state_as_an_older_engine_left_it_is_taken_up():
    ledger = Ledger([asking(), reminder()])
    ledger.admit(ticket("2026-03-01"), ordered("2026-03-01"))
    told = msgspec.msgpack.decode(ledger.basis)
    ledger.basis = msgspec.msgpack.encode({rule: kept[:3] for rule, kept in told.items()})
    ledger.restart()
    (second,) = ledger.admit(ticket("2026-03-02", "t-2"))
    assert second.data.why == "The ticket is number 2."
    assert msgspec.msgpack.decode(ledger.basis) == told
