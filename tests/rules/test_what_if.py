"""What would have been decided is what is decided, where rules are the same; and the difference is told as it is."""

from collections import Counter
from datetime import timedelta

from hypothesis import given as for_all
from hypothesis import strategies as st

from engage.events.catalogue.commerce import OrderCompleted
from engage.events.catalogue.consent import ConsentGiven
from engage.events.catalogue.follow_up import FollowUpCompleted
from engage.events.catalogue.identity import IdentityLinked, IdentityParted
from engage.rules.both_ways import BothWays, Way
from engage.rules.decisions import REQUESTED
from engage.rules.policy import PolicySettings
from engage.rules.what_if import Decided, by_rule, differences
from engage.services.records import read_event
from engage.testing.events import happened, moment
from streams.customers.win_back import Settings, rule
from tests.rules.ledger import Ledger, decisions
from tests.rules.probes import reminder
from tests.rules.test_recovery import DAY, LATER, PLAIN_HISTORY, POLICIES, RULES, START, events_at

END = START + 1_000 * DAY
OPPOSITE = {
    "new": "gone",
    "gone": "new",
    "earlier": "later",
    "later": "earlier",
    "asked": "skipped",
    "skipped": "asked",
    "another_reason": "another_reason",
}


def punctual(steps) -> Ledger:
    """Lived with a clock that is never late: every wake gets a tick of its own time."""
    ledger, now = Ledger(RULES), START

    def tick_until(when) -> None:
        while (due := ledger.runner.engine.cells.next_due()) is not None and due <= when:
            ledger.tick(due)

    ledger.tick(now)
    for number, (kind, which, account, after, late, _) in enumerate(steps):
        now += timedelta(minutes=after)
        tick_until(now)
        time = now - timedelta(minutes=late)
        if kind == "tick":
            data = [IdentityParted(visitor="acc-3"), IdentityLinked(account="acc-3"), None][which]
        elif kind == "complete":
            asked = [one for one in decisions(ledger.log) if one.type == REQUESTED and one.subject == account]
            data = FollowUpCompleted(follow_up_id=asked[-1 - which].id, outcome="reached") if asked[which:] else None
        else:
            data = events_at(kind, which, time)
        if data is not None:
            ledger.admit(happened(data, at=time, recorded=now, subject=account, id=f"e-{number}"))
    if steps:
        tick_until(END)
    return ledger


def folded(log, before: Way, after: Way) -> BothWays:
    both = BothWays(0, before, after)
    for record in log:
        both.fold(read_event(record))
    both.pass_time(END)
    return both


def by_account(decided: list[Decided]) -> dict[str, list[Decided]]:
    """In the order in which it was decided: of that, only the order on one account is anybody's to rely on."""
    found: dict[str, list[Decided]] = {}
    for one in decided:
        found.setdefault(one.account, []).append(one)
    return found


def sides(both: BothWays) -> list[dict[str, list[Decided]]]:
    return [by_account([*both.alike, *side]) for side in (both.before, both.after)]


@for_all(PLAIN_HISTORY)
def test_the_same_rules_would_have_decided_what_they_did(steps):
    ledger = punctual(steps)
    way = Way(RULES)
    both = folded(ledger.log, way, way)
    assert not both.before and not both.after, "nothing parts what is the same"
    lived = [
        (one.id, one.time, getattr(one.data, "reason", None))
        for one in sorted(decisions(ledger.log), key=lambda e: e.id)
    ]
    assert [(one.id, one.at, one.reason) for one in sorted(both.alike, key=lambda one: one.id)] == lived


WAYS = [
    *(Way(rules, policy) for rules in (RULES, LATER) for policy in POLICIES),
    Way([one for one in RULES if one.name != "reminder"]),
    Way([*RULES, reminder(after=3 * DAY, name="second-reminder")]),
]


@for_all(PLAIN_HISTORY, st.sampled_from(WAYS), st.sampled_from(WAYS))
def test_both_ways_at_once_decide_what_each_does_by_itself(steps, before, after):
    log = punctual(steps).log
    both, was, now_is = folded(log, before, after), folded(log, before, before), folded(log, after, after)
    assert sides(both) == [by_account(was.alike), by_account(now_is.alike)]
    assert differences(*both.apart()) == differences(was.alike, now_is.alike)


def win_back_calls(days: list[int], settings: Settings) -> list[Decided]:
    """By hand: who bought on these days is called when they have been silent for long enough."""
    found = []
    for place, day in enumerate(days):
        seen = days[: place + 1][-12:]
        if len(seen) < 2:
            continue
        gap = timedelta(days=(seen[-1] - seen[0]) / (len(seen) - 1))
        silence = min(max(settings.rhythm * gap, settings.at_least), settings.at_most)
        at = START + day * DAY + silence
        if (
            place + 1 == len(days) or START + days[place + 1] * DAY >= at
        ):  # a wake fires before the record of its moment
            found.append(Decided("acc-1", rule.name, "lapse", at, str(day)))
    return found


@for_all(st.lists(st.integers(0, 600), min_size=1, max_size=12, unique=True).map(sorted), st.integers(5, 200))
def test_another_patience_calls_on_the_days_that_a_count_by_hand_gives(days, patience):
    # It expires at once, so that no call is a duplicate of an open one.
    settings = Settings(at_least=timedelta(days=patience), rhythm=0.01, expires=timedelta(minutes=1))
    way = Way([rule.configured(settings)], PolicySettings(quiet_hours=None, cap=1_000))
    as_if = BothWays(0, way, way)
    as_if.fold(happened(ConsentGiven(channel="email", purpose="marketing"), at=START, offset=0))
    for offset, day in enumerate(days, 1):
        order = happened(OrderCompleted(order_id=str(day), total=1.0), at=START + day * DAY, offset=offset)
        as_if.fold(order)
    as_if.pass_time(END)
    assert [one.at for one in as_if.alike] == [one.at for one in win_back_calls(days, settings)]


DECIDED = st.builds(
    Decided,
    st.sampled_from(["acc-1", "acc-2"]),
    st.sampled_from(["win-back", "welcome"]),
    st.sampled_from(["lapse", "o-1"]),
    st.integers(0, 300).map(lambda day: START + day * DAY),
    st.just("id"),
    st.sampled_from([None, None, "consent", "cap"]),
)
SIDE = st.lists(DECIDED, max_size=8).map(lambda each: sorted(each, key=lambda one: one.at))


@for_all(SIDE)
def test_nothing_differs_from_itself(side):
    assert differences(side, side) == []


@for_all(SIDE, SIDE)
def test_the_numbers_add_up_and_the_other_way_round_is_the_opposite(before, after):
    changes = differences(before, after)
    asks = [Counter(one.rule for one in side if one.reason is None) for side in (before, after)]
    asked = {rule: (asks[0][rule], asks[1][rule]) for rule in asks[0] | asks[1]}
    for one in by_rule(asked, changes):
        kinds = Counter(one.differences)
        more, less = kinds["new"] + kinds["asked"], kinds["gone"] + kinds["skipped"]
        assert one.after - one.before == more - less
    back = Counter(OPPOSITE[one.difference] for one in differences(after, before))
    there = Counter(one.difference for one in changes)
    assert there["new"] + there["asked"] - there["gone"] - there["skipped"] == (
        back["new"] + back["asked"] - back["gone"] - back["skipped"]
    )


def told(before: list[tuple[str, str | None]], after: list[tuple[str, str | None]]) -> list[str]:
    def side(each):
        return [Decided("acc-1", "win-back", "lapse", moment(at), at, reason) for at, reason in each]

    return [one.difference for one in differences(side(before), side(after))]


def test_each_kind_of_difference():
    june, july, september = ("2026-06-01", None), ("2026-07-01", None), ("2026-12-01", None)
    assert told([june], [july]) == ["later"]
    assert told([july], [june]) == ["earlier"]
    assert told([], [june]) == ["new"]
    assert told([june], []) == ["gone"]
    assert told([june], [september]) == ["gone", "new"]
    assert told([june, july], [july]) == ["gone"]
    assert told([june], [("2026-06-01", "cap")]) == ["skipped"]
    assert told([("2026-06-01", "cap")], [june]) == ["asked"]
    assert told([("2026-06-01", "cap")], [("2026-06-02", "consent")]) == ["another_reason"]
    assert told([("2026-06-01", "cap")], []) == []
    assert told([("2026-06-01", "cap"), june], [june]) == []
