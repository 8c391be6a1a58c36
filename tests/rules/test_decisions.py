"""A decision can be told from every other by its id, and has the same id whoever takes it."""

from uuid import UUID

from engage.events import codec
from engage.events.catalogue.follow_up import FollowUpRequested
from engage.rules.rule import Rule
from engage.services.records import read_event
from engage.testing.events import happened, moment
from tests.rules.ledger import Ledger
from tests.rules.probes import Seen, Settings, ask, asking, ordered, reminder, ticket


def test_two_runs_take_the_same_decisions_with_the_same_ids():
    first, second = Ledger([asking(), reminder()]), Ledger([asking(), reminder()])
    for ledger in (first, second):
        ledger.admit(ticket("2026-03-01"), ordered("2026-03-01"))
        ledger.tick("2026-03-10")
    assert first.log == second.log


def test_ids_differ_by_rule_account_subject_cause_moment_and_kind():
    ledger = Ledger([asking("a"), asking("b"), reminder()])
    ledger.admit(
        ticket("2026-03-01", "t-1"),
        ticket("2026-03-01", "t-2"),
        ticket("2026-03-01", "t-1", subject="acc-2"),
        ticket("2026-03-01", "t-1", id="another cause"),
        ticket("2026-05-01", "t-1", id="and another"),
        ordered("2026-05-01", id="order"),
    )
    ledger.tick("2026-05-04")
    ledger.admit(ordered("2026-06-01", id="order", source="another"))
    ledger.tick("2026-06-04")
    found = [event for event in map(read_event, ledger.log) if event.type.startswith("follow_up.")]
    assert len(found) == 12
    assert len({event.id for event in found}) == 12
    assert {UUID(event.id).version for event in found} == {5}


def test_the_id_does_not_depend_on_the_version_or_on_where_a_moment_was_told():
    first, second = Ledger([reminder(version=1)]), Ledger([reminder(version=2)])
    first.admit(ordered("2026-03-01T12:00", id="x"))
    second.admit(ordered("2026-03-01T14:00+02:00", id="x"))
    (one,), (other,) = first.tick("2026-03-10"), second.tick("2026-03-10")
    assert one.id == other.id
    assert (one.data.rule_version, other.data.rule_version) == (1, 2)


def test_a_decision_names_its_cause_and_where_it_was_taken():
    ledger = Ledger([reminder()])
    ledger.admit(ordered("2026-03-01", id="the order"))
    (decision,) = ledger.tick("2026-03-05")
    assert decision.causationid == decision.data.cause.id == "the order"
    assert read_event(ledger.log[decision.data.cause.offset]).id == "the order"
    assert read_event(ledger.log[decision.data.decided_at]).type == "clock.ticked"
    assert decision.data.wake_due == moment("2026-03-04")
    assert decision.subject == "acc-1"


def test_a_decision_follows_the_record_at_which_it_was_taken():
    ledger = Ledger([asking()])
    ledger.admit(ticket("2026-03-01"), ticket("2026-03-01", "t-2"))
    kinds = [(event.type, event.now) for event in map(read_event, ledger.log[2:])]
    assert kinds == [("Ticket Opened", moment("2026-03-01")), ("follow_up.requested", moment("2026-03-01"))] * 2


def test_a_rule_may_listen_to_what_was_decided():
    """Decisions are records like any other, and reach the rules that listen to them."""
    rule = Rule("echo", version=1, settings=Settings(), state=Seen)

    @rule.on(FollowUpRequested)
    def asked(state, event, settings):
        if event.data.rule != "echo":
            yield ask(event.data.about)

    ledger = Ledger([asking(), rule])
    decided = ledger.admit(ticket("2026-03-01"))
    assert [decision.data.rule for decision in decided] == ["asking", "echo"]
    assert decided[1].causationid == decided[0].id


def test_what_is_put_on_the_log_can_be_read_back_as_it_was():
    ledger = Ledger([asking()])
    ledger.admit(ticket("2026-03-01"))
    decision = codec.open_data(read_event(ledger.log[-1]))
    again = happened(decision.data, at=decision.time)
    assert codec.open_data(codec.decode(codec.encode(again))).data == decision.data
