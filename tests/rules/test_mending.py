"""What operators say lets a rule go on: with an account on which it failed, or altogether; live as when refolded."""

from datetime import timedelta

import pytest
from hypothesis import given as whenever
from hypothesis import settings as how
from hypothesis import strategies as some
from msgspec import Raw, Struct

from engage.events import codec
from engage.events.catalogue.consent import ConsentWithdrawn
from engage.events.catalogue.dead_letter import DeadLetterRetried, DeadLetterSkipped
from engage.events.catalogue.rule import RuleDisabled, RuleEnabled
from engage.events.catalogue.support import TicketOpened
from engage.rules.decisions import REQUESTED
from engage.rules.decisions import TYPES as DECISIONS
from engage.rules.policy import PolicySettings
from engage.rules.rule import Rule, Wake
from engage.services.records import read_event
from engage.testing.events import moment
from tests.rules.ledger import Ledger
from tests.rules.probes import Settings, ask, asking, forbidden, ordered, reminder, ticket

ANY_HOUR = PolicySettings(quiet_hours=None, cap=1_000)
WHO = ("acc-1", "acc-2")


class Counted(Struct):
    count: int = 0
    woken: int = 0


def choosy(bad=(), *, bad_wakes=False):
    """Counts tickets, asks for each and is woken a day later; raises on those in ``bad``, or when woken about them."""
    rule = Rule("choosy", version=1, settings=Settings(), state=Counted)

    @rule.on(TicketOpened)
    def opened(state, event, settings):
        state.count += 1  # half changed when it fails
        if event.data.ticket_id in bad and not bad_wakes:
            raise ZeroDivisionError("cannot take it")
        yield ask(f"{event.data.ticket_id}-{state.count}")
        yield Wake(event.now + Settings().after, about=event.data.ticket_id)

    @rule.on_wake
    def woken(state, wake, settings):
        state.woken += 1
        if wake.about in bad and bad_wakes:
            raise ZeroDivisionError("cannot be woken")
        yield ask(f"woken-{wake.about}-{state.woken}")

    return rule


def retried(failure, at, rule="choosy"):
    return _word(DeadLetterRetried, failure, at, rule)


def skipped(failure, at, rule="choosy"):
    return _word(DeadLetterSkipped, failure, at, rule, reason="test order")


def _word(kind, failure, at, rule, **more):
    said = kind(consumer=f"rule {rule}", partition=0, offset=failure.offset, event_id=failure.event_id, **more)
    return _recorded(said, failure.account, at)


def disabled(at, rule="choosy"):
    return _recorded(RuleDisabled(partition=0, rule=rule), "partition:0", at)


def enabled(at, rule="choosy"):
    return _recorded(RuleEnabled(partition=0, rule=rule), "partition:0", at)


def _recorded(data, subject, at):
    event = codec.new_event(
        data, id=f"word-{at}-{subject}", source="engage/operators", subject=subject, time=moment(at)
    )
    event.recorded = moment(at)
    return event


def unreadable(at):
    """A word on consent that cannot be read: it parks the policy for its account."""
    event = _recorded(ConsentWithdrawn(channel="sms", purpose="marketing"), "acc-1", at)
    event.data = Raw(b'{"channel":7}')
    return event


def abouts(decisions):
    return [one.data.about for one in decisions]


def counts(ledger):
    """What the rule has counted, and what it waits for."""
    ours = {account: cell for (rule, account), cell in ledger.state().items() if rule == "choosy"}
    return {account: (cell["state"], sorted(cell.get("wakes", ()))) for account, cell in ours.items()}


def parked(ledger):
    return {key for key, _ in ledger.runner.engine.cells.parked()}


def test_a_retry_by_the_mended_rule_takes_the_past_in_silence_and_asks_from_there_on():
    ledger = Ledger([choosy(bad=["t-2"])], ANY_HOUR)
    ledger.admit(ticket("2026-03-01", "t-1"), ticket("2026-03-02", "t-2"), ticket("2026-03-03", "t-3"))
    ledger.restart([choosy()])
    assert parked(ledger) == {("choosy", "acc-1")}
    assert ledger.admit(retried(ledger.failures[0], "2026-03-05T12:00")) == []
    assert parked(ledger) == set()
    assert ledger.state()["choosy", "acc-1"]["state"] == {"count": 3, "woken": 2}
    assert abouts(ledger.tick("2026-03-07")) == ["woken-t-3-3"]
    assert abouts(ledger.admit(ticket("2026-03-08", "t-4"))) == ["t-4-4"]


def test_a_retry_that_fails_again_stays_and_says_why():
    ledger = Ledger([choosy(bad=["t-2"])], ANY_HOUR)
    ledger.admit(ticket("2026-03-01", "t-1"), ticket("2026-03-02", "t-2"), ticket("2026-03-03", "t-3"))
    ledger.restart([choosy(bad=["t-3"])])
    ledger.admit(retried(ledger.failures[0], "2026-03-04"))
    assert parked(ledger) == {("choosy", "acc-1")}
    assert [one.event_id for one in ledger.failures] == [ticket("2026-03-02", "t-2").id, ticket("2026-03-03", "t-3").id]
    assert ledger.admit(ticket("2026-03-08", "t-4")) == []


def test_a_skip_goes_over_that_event_alone():
    ledger = Ledger([choosy(bad=["t-2", "t-4"])], ANY_HOUR)
    ledger.admit(*(ticket(f"2026-03-0{day}", f"t-{day}") for day in (1, 2, 3)))
    ledger.admit(skipped(ledger.failures[0], "2026-03-03T12:00"))
    assert ledger.state()["choosy", "acc-1"]["state"]["count"] == 2
    ledger.admit(ticket("2026-03-04", "t-4"), ticket("2026-03-05", "t-5"))
    assert parked(ledger) == {("choosy", "acc-1")}
    ledger.admit(skipped(ledger.failures[1], "2026-03-06"))
    assert ledger.state()["choosy", "acc-1"]["state"]["count"] == 3
    assert abouts(ledger.admit(ticket("2026-03-07", "t-6"))) == ["t-6-4"]


def test_a_skip_goes_over_a_wake_that_failed_and_not_over_the_event_at_which_it_fired():
    ledger = Ledger([choosy(bad=["t-1"], bad_wakes=True)], ANY_HOUR)
    ledger.admit(ticket("2026-03-01", "t-1"), ticket("2026-03-05", "t-2"))
    assert ledger.failures[0].event_id == ticket("2026-03-01", "t-1").id
    ledger.admit(skipped(ledger.failures[0], "2026-03-06"))
    assert ledger.state()["choosy", "acc-1"]["state"] == {"count": 2, "woken": 0}
    assert abouts(ledger.tick("2026-03-09")) == ["woken-t-2-1"]


def test_a_policy_that_could_not_read_a_word_on_consent_goes_on_with_what_it_decided_meanwhile():
    ledger = Ledger([choosy()], ANY_HOUR)
    ledger.admit(forbidden("email", at="2026-03-01"), ticket("2026-03-01", "t-1"), unreadable("2026-03-02"))
    assert parked(ledger) == {("policy", "acc-1")}
    ledger.admit(skipped(ledger.failures[0], "2026-03-03", rule="policy"))
    assert parked(ledger) == set()
    words = ledger.state()["policy", "acc-1"]["state"]
    assert words["consent"], "the word before it stands"
    assert words["open"], "what was asked for is open still"


@pytest.mark.parametrize("restarted", ["never", "parked", "mended"])
def test_a_policy_that_stood_still_when_the_night_was_over_asks_once_it_is_mended(restarted):
    ledger = Ledger([asking(channels=("email",))])
    ledger.admit(ticket("2026-03-01T23:30", "t-1"), unreadable("2026-03-02T00:10"))
    assert ledger.tick("2026-03-02T12:00") == []
    if restarted == "parked":
        ledger.restart()
    assert ledger.admit(skipped(ledger.failures[0], "2026-03-03T12:00", rule="policy")) == []
    if restarted == "mended":
        ledger.restart()
    [asked] = ledger.tick("2026-03-03T12:01")
    assert (asked.type, asked.data.about) == (REQUESTED, "t-1")
    refolds_to_itself(ledger)


def test_a_rule_that_is_disabled_rests_and_takes_what_came_in_silence_once_it_is_enabled():
    ledger = Ledger([choosy(), reminder()], ANY_HOUR)
    ledger.admit(ticket("2026-03-01", "t-1"), ordered("2026-03-01", "o-1"))
    ledger.admit(disabled("2026-03-02"))
    decided = ledger.admit(ticket("2026-03-03", "t-2"), ticket("2026-03-03", "t-2", subject="acc-2"))
    assert abouts(decided + ledger.tick("2026-03-05")) == ["o-1"]
    assert {rule for rule, _ in ledger.cells} <= {"policy"}
    ledger.restart()
    assert abouts(ledger.admit(ticket("2026-03-06", "t-3"))) == []
    ledger.admit(enabled("2026-03-07T12:00"))
    assert ledger.state()["choosy", "acc-1"]["state"] == {"count": 3, "woken": 2}
    assert abouts(ledger.tick("2026-03-10")) == ["woken-t-3-3"]


def test_a_rule_that_changes_while_it_rests_goes_on_resting_and_asks_as_it_is_now_once_it_is_enabled():
    ledger = Ledger([reminder()], ANY_HOUR)
    ledger.admit(ordered("2026-03-01", "o-1"), disabled("2026-03-02", "reminder"))
    ledger.restart([reminder(version=2)])
    assert abouts(ledger.admit(ordered("2026-03-03", "o-2")) + ledger.tick("2026-03-10")) == []
    ledger.admit(enabled("2026-03-11", "reminder"), ordered("2026-03-12", "o-3"))
    assert abouts(ledger.tick("2026-03-20")) == ["o-3"]


def test_a_rule_that_is_enabled_before_its_new_version_is_active_asks_from_its_activation_on():
    ledger = Ledger([reminder()], ANY_HOUR)
    ledger.admit(ordered("2026-03-01", "o-1"), disabled("2026-03-02", "reminder"))
    ledger.restart([reminder(version=2)])
    ledger.admit(enabled("2026-03-02T12:00", "reminder"))
    assert abouts(ledger.tick("2026-03-10")) == ["o-1"]


def test_an_event_that_is_retold_can_be_passed_over_too_and_a_word_that_is_retold_says_nothing():
    ledger = Ledger([choosy(bad=["t-2"])], ANY_HOUR)
    again = ticket("2026-03-02", "t-2", id="again")
    again.retold = True
    ledger.admit(ticket("2026-03-01", "t-1"), again)
    assert parked(ledger) == {("choosy", "acc-1")}
    told = skipped(ledger.failures[0], "2026-03-03")
    told.retold = True
    ledger.admit(told)
    assert parked(ledger) == {("choosy", "acc-1")}
    ledger.admit(skipped(ledger.failures[0], "2026-03-04"))
    assert parked(ledger) == set()
    assert ledger.state()["choosy", "acc-1"]["state"]["count"] == 1
    refolds_to_itself(ledger)


HAPPENING = some.one_of(
    some.tuples(some.just("ticket"), some.sampled_from(WHO), some.sampled_from(["t-1", "bad", "worse"])),
    some.tuples(some.just("order"), some.sampled_from(WHO), some.sampled_from(["o-1", "o-2"])),
    some.tuples(some.just("retry"), some.integers(0, 5), some.booleans()),
    some.tuples(some.just("skip"), some.integers(0, 5), some.booleans()),
    some.tuples(some.just("rest"), some.sampled_from(["choosy", "reminder"]), some.booleans()),
    some.tuples(some.just("wake"), some.sampled_from(["choosy", "reminder"]), some.booleans()),
    some.tuples(some.just("restart"), some.just(0), some.booleans()),
    some.tuples(some.just("time"), some.just(0), some.booleans()),
)


def lived(story, bad, bad_wakes):
    """A ledger with all that happened in the story, seventeen hours apart."""
    ledger = Ledger([choosy(bad, bad_wakes=bad_wakes), reminder()], ANY_HOUR)
    for place, (what, who, more) in enumerate(story):
        at = moment("2026-03-01") + place * timedelta(hours=17)
        if what == "ticket":
            ledger.admit(ticket(at, more, subject=who, id=f"e-{place}"))
        elif what == "order":
            ledger.admit(ordered(at, more, subject=who, id=f"e-{place}"))
        elif what == "rest":
            ledger.admit(disabled(at, who))
        elif what == "wake":
            ledger.admit(enabled(at, who))
        elif what == "time":
            ledger.tick(at)
        elif what == "restart":
            ledger.restart()
        elif ledger.failures:
            failure = ledger.failures[who % len(ledger.failures)]
            ledger.admit((retried if what == "retry" else skipped)(failure, at))
    return ledger


def refolds_to_itself(ledger):
    """Whether an engine that has lost everything comes to the same, and decides nothing twice."""
    state, still, said = ledger.state(), parked(ledger), len(ledger.log)
    ledger.forget()
    assert ledger.state() == state
    assert parked(ledger) == still
    assert len(ledger.log) == said


@pytest.mark.parametrize("bad_wakes", [False, True])
@how(max_examples=60, deadline=None)
@whenever(story=some.lists(HAPPENING, max_size=30), bad=some.sampled_from([("bad",), ("bad", "worse")]))
def test_whatever_operators_say_the_state_is_the_same_live_as_refolded(bad_wakes, story, bad):
    refolds_to_itself(lived(story, bad, bad_wakes))


@pytest.mark.parametrize("bad_wakes", [False, True])
@how(max_examples=40, deadline=None)
@whenever(story=some.lists(HAPPENING, max_size=20))
def test_once_the_rule_is_mended_and_all_is_retried_its_state_is_that_of_a_rule_that_never_failed(bad_wakes, story):
    story = [one for one in story if one[0] != "skip"]
    ledger = lived(story, ("bad",), bad_wakes)
    ledger.restart([choosy(), reminder()])
    for place, failure in enumerate(ledger.failures[:]):
        ledger.admit(retried(failure, moment("2026-05-01") + timedelta(minutes=place)))
    assert parked(ledger) == set()
    refolds_to_itself(ledger)
    fresh = Ledger([choosy(), reminder()], ANY_HOUR)
    fresh.admit(*(event for event in map(read_event, ledger.log) if event.type not in DECISIONS))
    assert counts(fresh) == counts(ledger)


NIGHTLY = some.tuples(
    some.sampled_from(["ticket", "unreadable", "retry", "skip", "restart", "time"]), some.integers(0, 3)
)


@how(max_examples=60, deadline=None)
@whenever(story=some.lists(NIGHTLY, max_size=30))
def test_what_was_deferred_is_decided_once_the_policy_goes_on_live_as_refolded(story):
    ledger = Ledger([asking(channels=("email",))], PolicySettings(cap=1_000))
    for place, (what, which) in enumerate(story):
        at = moment("2026-03-01T20:00") + place * timedelta(hours=3)
        if what == "ticket":
            ledger.admit(ticket(at, f"t-{place}"))
        elif what == "unreadable":
            ledger.admit(unreadable(at))
        elif what == "restart":
            ledger.restart()
        elif what == "time":
            ledger.tick(at)
        elif ledger.failures:
            failure = ledger.failures[which % len(ledger.failures)]
            ledger.admit((retried if what == "retry" else skipped)(failure, at, rule="policy"))
    at = moment("2026-03-10")
    while parked(ledger):  # another one may be behind what is skipped
        at += timedelta(minutes=1)
        ledger.admit(skipped(ledger.failures[-1], at, rule="policy"))
    ledger.tick("2026-03-12T12:00")
    assert not any(cell["state"].get("deferred") for (rule, _), cell in ledger.state().items() if rule == "policy")
    refolds_to_itself(ledger)
