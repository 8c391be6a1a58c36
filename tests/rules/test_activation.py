"""A new or changed rule knows the whole past and has its say from its activation on."""

from datetime import timedelta

import msgspec
import pytest

from engage.events.catalogue.support import TicketOpened
from engage.rules.policy import PolicySettings
from engage.rules.rule import Rule, RuleSettings
from engage.services.records import read_event
from engage.testing.events import moment
from tests.rules.ledger import Ledger, types
from tests.rules.probes import Seen, Settings, ask, asking, ordered, reminder, ticket


def counting(version, every):
    """Asks at every so many tickets; its state has another shape in each version."""
    state = type("Count", (Seen,), {"__annotations__": {f"v{version}": int}, f"v{version}": 0})
    rule = Rule("counting", version=version, settings=Settings(), state=state)

    @rule.on(TicketOpened)
    def opened(state, event, settings):
        state.count += 1
        setattr(state, f"v{version}", state.count)
        if state.count % every == 0:
            yield ask(f"ticket number {state.count}")

    return rule


def about(decisions):
    return [decision.data.about for decision in decisions]


def test_the_first_record_of_a_partition_is_preceded_by_what_is_active():
    ledger = Ledger([asking(), reminder()])
    ledger.admit(ticket("2026-03-01"))
    assert types(ledger.log) == ["rule.activated"] * 3 + ["Ticket Opened", "follow_up.requested"]
    ledger.restart()
    ledger.admit(ticket("2026-03-02"))
    assert types(ledger.log).count("rule.activated") == 3


def test_an_activation_says_all_settings_also_those_that_are_defaults():
    ledger = Ledger([reminder()])
    ledger.admit(ticket("2026-03-01"))
    assert b'"settings":{"after":"P3D","expires":"P14D"}' in ledger.log[0].value


def test_a_new_rule_folds_the_past_in_silence():
    ledger = Ledger([asking()])
    ledger.admit(*(ticket(f"2026-03-0{n}", f"t-{n}") for n in range(1, 4)))
    ledger.restart([asking(), counting(1, every=2)])
    assert about(ledger.admit(ticket("2026-03-04", "t-4"))) == ["t-4", "ticket number 4"]
    assert about(ledger.admit(ticket("2026-03-05", "t-5"))) == ["t-5"]


def test_a_changed_version_folds_the_past_anew_whatever_shape_its_state_had():
    ledger = Ledger([counting(1, every=2)])
    ledger.admit(*(ticket(f"2026-03-0{n}", f"t-{n}") for n in range(1, 5)))
    ledger.restart([counting(2, every=5)])
    assert about(ledger.admit(ticket("2026-03-05", "t-5"))) == ["ticket number 5"]
    assert ledger.state()["counting", "acc-1"] == {"state": {"count": 5, "v2": 5}}


def test_changed_settings_fold_the_past_anew():
    ledger = Ledger([reminder(after=timedelta(days=10))])
    ledger.admit(ordered("2026-03-01"))
    ledger.restart([reminder(after=timedelta(days=20))])
    ledger.admit(ticket("2026-03-12"))
    assert about(ledger.tick("2026-03-20")) == []
    assert about(ledger.tick("2026-03-21")) == ["o-1"]


def test_what_is_due_when_a_rule_is_activated_is_asked_for_once():
    ledger = Ledger([asking()])
    ledger.admit(ordered("2026-03-01"))
    ledger.restart([asking(), reminder()])
    (decision,) = ledger.admit(ordered("2026-03-06", "o-2"))
    assert decision.data.about == "o-1"
    assert read_event(ledger.log[decision.data.decided_at]).type == "Order Completed"
    assert about(ledger.tick("2026-03-08")) == []


def test_the_clock_alone_activates_a_rule_and_lets_it_speak():
    ledger = Ledger([reminder(after=timedelta(days=30))])
    ledger.admit(ordered("2026-03-01"))
    ledger.restart([reminder(after=timedelta(days=31)), reminder("other", after=timedelta(days=30))])
    assert [decision.data.rule for decision in ledger.tick("2026-03-31")] == ["other"]
    assert [decision.data.rule for decision in ledger.tick("2026-04-01")] == ["reminder"]


def test_what_was_decided_by_a_former_version_is_not_asked_for_again_while_it_is_open():
    ledger = Ledger([reminder(expires=timedelta(days=60))])
    ledger.admit(ordered("2026-03-01"))
    ledger.tick("2026-03-04")
    ledger.restart([reminder(version=2, expires=timedelta(days=60))])
    assert ledger.admit(ordered("2026-03-05")) == []
    (decision,) = ledger.tick("2026-03-08")
    assert decision.data.reason == "duplicate"


def test_a_removed_rule_leaves_nothing_that_its_return_could_mistake_for_the_present():
    ledger = Ledger([reminder(), asking()])
    ledger.admit(ordered("2026-03-01"))
    ledger.restart([asking()])
    ledger.admit(ticket("2026-03-02"))
    assert ("reminder", "acc-1") not in ledger.cells
    ledger.restart([reminder(), asking()])
    ledger.admit(ticket("2026-03-03", "t-2"))
    assert ("reminder", "acc-1") in ledger.cells
    assert about(ledger.tick("2026-03-05")) == ["o-1"]


def test_going_back_to_a_former_version_is_a_change_too():
    first, second = counting(1, every=2), counting(2, every=3)
    ledger = Ledger([first])
    ledger.admit(*(ticket(f"2026-03-0{n}", f"t-{n}") for n in range(1, 4)))
    ledger.restart([second])
    ledger.admit(ticket("2026-03-04", "t-4"))
    ledger.restart([first])
    ledger.admit(ticket("2026-03-05", "t-5"))
    activations = [record for record in ledger.log if b"rule.activated" in record.value and b"counting" in record.value]
    assert len(activations) == 3
    assert ledger.state()["counting", "acc-1"] == {"state": {"count": 5, "v1": 5}}


def test_a_rule_that_lost_its_state_before_its_change_was_activated_stays_silent_until_then():
    """The last activation counts: not any former one that happens to be the same."""
    first, second = counting(1, every=1), counting(2, every=100)
    ledger = Ledger([first])
    ledger.admit(ticket("2026-03-01"))
    ledger.restart([second])
    ledger.admit(ticket("2026-03-02", "t-2"))
    ledger.rules = [first]
    ledger.forget()
    assert types(ledger.log)[-1] == "Ticket Opened"
    assert about(ledger.admit(ticket("2026-03-03", "t-3"))) == ["ticket number 3"]


def test_a_changed_policy_keeps_what_it_knows():
    ledger = Ledger([asking(channels=("email",))], PolicySettings(cap=3, quiet_hours=None))
    ledger.admit(ticket("2026-03-01"))
    ledger.policy = PolicySettings(cap=1, quiet_hours=None)
    ledger.restart()
    (decision,) = ledger.admit(ticket("2026-03-02", "t-2"))
    assert decision.data.reason == "cap"


class Listed(RuleSettings):
    """Settings that JSON writes otherwise than Python does."""

    days: tuple[int, ...] = (1, 2)
    by_stars: dict[int, timedelta] = msgspec.field(default_factory=dict)


@pytest.mark.parametrize("settings", [Listed(), Listed(days=(3,), by_stars={5: timedelta(days=1)})])
def test_settings_of_any_kind_are_active_after_a_restart(settings):
    rule = Rule("listed", version=1, settings=settings, state=Seen)
    rule.on(TicketOpened)(lambda state, event, settings: [ask(event.data.ticket_id)])
    ledger = Ledger([rule])
    ledger.admit(ticket("2026-03-01"))
    end = len(ledger.log)
    ledger.restart()
    ledger.forget()
    assert about(ledger.admit(ticket("2026-03-02", "t-2"))) == ["t-2"]
    assert len(ledger.log) == end + 2


def test_an_activation_on_another_log_says_when():
    ledger = Ledger([asking()])
    ledger.admit(ticket("2026-03-01T12:00"))
    assert ledger.log[0].recorded == moment("2026-03-01T12:00")


def test_a_cell_of_the_past_that_comes_back_empty_is_forgotten_where_it_was_stored():
    ledger = Ledger([asking(name="asking")])
    ledger.admit(ticket("2026-03-01T12:00"))
    ledger.cells["counting", "acc-1"] = b'{"state":{"count":7}}'
    counting = Rule("counting", version=1, settings=Settings(), state=Seen)

    @counting.on(TicketOpened)
    def opened(state, event, settings):
        return ()

    ledger.restart([counting])
    ledger.admit(ticket("2026-03-02T12:00", "t-2"))
    assert ("counting", "acc-1") not in ledger.cells
