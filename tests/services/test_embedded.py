"""Embedded intake: appending, rules and decisions are one transaction, and time on the log never goes back."""

import asyncio
import contextlib
import random
import sqlite3
from datetime import UTC, datetime, timedelta

import msgspec
import prometheus_client
import pytest
from msgspec import Struct

from engage.events import codec
from engage.events.catalogue.commerce import OrderDelivered
from engage.events.catalogue.identity import IdentityLinked
from engage.events.catalogue.profile import AccountIdentified
from engage.events.linking import SOURCE
from engage.events.shares import SHARES
from engage.events.validation import Refusal
from engage.log.contract import Duplicate, Taken
from engage.log.sqlite import LogMovedError, SqliteLog, Writes
from engage.rules.policy import PolicySettings
from engage.rules.rule import FollowUpRequest, NoState, Rule, RuleSettings, Wake
from engage.services import kept_cells
from engage.services.committing import AbandonedError
from engage.services.edge import Edge
from engage.services.embedded import EmbeddedLog
from engage.services.retelling import Mover
from engage.testing.keyring import MemoryKeyring

START = datetime(2026, 3, 1, 9, tzinfo=UTC)


class AskSettings(RuleSettings):
    after: timedelta = timedelta(days=3)


def ask_rule(version=1, **settings):
    rule = Rule("ask", version=version, settings=AskSettings(**settings), state=NoState)

    @rule.on(OrderDelivered)
    def delivered(state, event, settings):
        yield Wake(event.time + settings.after, about=event.data.order_id)

    @rule.on_wake
    def ask(state, wake, settings):
        yield FollowUpRequest(what="ask", why="it came", about=wake.about, purpose="service", channels=("email",))

    return rule


class Asked(Struct):
    asked: int = 0


def counting_rule():
    rule = Rule("ask", version=7, settings=AskSettings(), state=Asked)

    @rule.on(OrderDelivered)
    def delivered(state, event, settings):
        yield Wake(event.time + settings.after, about=event.data.order_id)

    @rule.on_wake
    def ask(state, wake, settings):
        state.asked += 1
        yield FollowUpRequest(what="ask", why=f"number {state.asked}", about=wake.about, purpose="service")

    return rule


def failing_rule():
    rule = Rule("failing", version=1, settings=AskSettings(), state=NoState)

    @rule.on(OrderDelivered)
    def delivered(state, event, settings):
        raise LookupError(f"cannot bear {event.data.order_id}")

    return rule


class Clock:
    """A clock that stands until it is set."""

    def __init__(self, now=START):
        self.now = now

    def __call__(self):
        return self.now


class House:
    """An embedded log in a folder that can be closed and opened again, with other rules."""

    def __init__(self, folder):
        self.path = folder / "log.db"
        self.clock = Clock()
        self.keyring = MemoryKeyring()
        self.log = None

    async def open(self, *rules):
        if self.log:
            await self.embedded.close()
            self.log.close()
        self.log = SqliteLog(self.path)
        self.embedded = EmbeddedLog(self.log, Edge(self.keyring, self.clock), rules, PolicySettings(cap=99), self.clock)
        await self.embedded.start()
        return self

    async def lose_engines_and_open(self, *rules):
        for partition in range(self.log.partitions):
            self.log.forget_engine(partition)
        return await self.open(*rules)

    def engine_states(self):
        return [self.log.engine_state(partition) for partition in range(self.log.partitions)]

    def events(self, kind=None):
        records = [record for partition in range(self.log.partitions) for record in self.log.scan(partition)]
        return [event for record in records if kind in (None, (event := codec.decode(record.value)).type)]


@pytest.fixture
async def house(tmp_path):
    made = await House(tmp_path).open(ask_rule())
    yield made
    await made.embedded.close()
    made.log.close()


def delivered(order, *, at=START, subject="acc-1"):
    return codec.new_event(OrderDelivered(order_id=order), id=f"e-{order}", source="test", subject=subject, time=at)


async def test_what_is_published_is_on_the_log_once(house):
    first, again = await house.embedded.publish([delivered("o-1"), delivered("o-1")])
    assert isinstance(first, Taken)
    assert again == Duplicate(first.token)
    assert await house.embedded.publish([delivered("o-1")]) == [Duplicate(first.token)]
    assert len(house.events("Order Delivered")) == 1


async def test_the_same_id_of_another_account_or_source_is_another_event(house):
    other = delivered("o-1", subject="acc-2")
    elsewhere = delivered("o-1")
    elsewhere.source = "elsewhere"
    answers = await house.embedded.publish([delivered("o-1"), other, elsewhere])
    assert [type(answer) for answer in answers] == [Taken] * 3


async def test_one_bad_event_sinks_no_other(house):
    answers = await house.embedded.publish([b"{", codec.encode(delivered("o-1")), b"[]"])
    assert [type(answer) for answer in answers] == [Refusal, Taken, Refusal]


async def test_the_publishers_events_stay_as_they_were(house):
    event = delivered("o-1")
    before = codec.encode(event)
    await house.embedded.publish([event])
    assert codec.encode(event) == before


async def test_recorded_never_goes_back_when_the_clock_does(house):
    await house.embedded.publish([delivered("o-1")])
    house.clock.now = START - timedelta(hours=5)
    await house.embedded.publish([delivered("o-2", at=START - timedelta(hours=6))])
    assert [event.recorded for event in house.events("Order Delivered")] == [START, START]


async def test_personal_fields_are_nowhere_in_the_file(house, tmp_path):
    event = codec.new_event(
        AccountIdentified(name="Ada Lovelace"), id="i-1", source="test", subject="acc-1", time=START
    )
    await house.embedded.publish([event])
    assert all(b"Lovelace" not in file.read_bytes() for file in tmp_path.iterdir())


async def test_a_decision_comes_right_after_the_record_that_let_it_fall_due(house):
    await house.embedded.publish([delivered("o-1")])
    house.clock.now = START + timedelta(days=4)
    await house.embedded.publish([delivered("o-2", at=house.clock.now)])
    kinds = [event.type for event in house.events() if event.type != "rule.activated"]
    assert kinds == ["Order Delivered", "Order Delivered", "follow_up.requested"]
    decision = codec.open_data(house.events("follow_up.requested")[0])
    assert (decision.data.about, decision.data.cause.id, decision.recorded) == ("o-1", "e-o-1", house.clock.now)


async def test_an_absence_is_decided_by_a_tick(house):
    await house.embedded.publish([delivered("o-1")])
    assert not await house.embedded.tick(START + timedelta(days=2))
    assert await house.embedded.tick(START + timedelta(days=3))
    assert not await house.embedded.tick(START + timedelta(days=3))
    assert len(house.events("follow_up.requested")) == 1


async def test_history_is_recorded_as_it_was_lived(house):
    house.clock.now = START + timedelta(days=400)
    history = [delivered(f"o-{day}", at=START + timedelta(days=day)) for day in range(0, 60, 10)]
    await house.embedded.publish(history, as_lived=True, marker=("history", 6))
    assert [event.recorded for event in house.events("Order Delivered")] == [event.time for event in history]
    asked = [codec.open_data(event) for event in house.events("follow_up.requested")]
    assert [event.recorded - START for event in asked] == [timedelta(days=day + 3) for day in range(0, 50, 10)]
    assert house.log.marker("history") == 6


async def test_a_failed_commit_changes_nothing_and_the_next_one_works(house):
    await house.embedded.publish([delivered("o-1")])
    before = house.events()
    other = sqlite3.connect(house.path, isolation_level=None)
    other.execute("CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    with pytest.raises(sqlite3.IntegrityError, match="disk full"):
        await house.embedded.publish([delivered("o-2")])
    assert house.events() == before
    other.execute("DROP TRIGGER full")
    other.close()
    assert isinstance((await house.embedded.publish([delivered("o-2")]))[0], Taken)
    assert await house.embedded.tick(START + timedelta(days=3))
    assert [codec.open_data(event).data.about for event in house.events("follow_up.requested")] == ["o-1", "o-2"]


class Full:
    """While it holds, nothing can be appended; ``reading`` spoils the engines' state as well."""

    def __init__(self, house, *, reading=False):
        self._db = sqlite3.connect(house.path, isolation_level=None)
        self._reading = reading

    def __enter__(self):
        self._db.execute("CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        if self._reading:
            self._db.execute("ALTER TABLE cells RENAME TO cells_away")

    def __exit__(self, *_):
        self._db.execute("DROP TRIGGER full")
        if self._reading:
            self._db.execute("ALTER TABLE cells_away RENAME TO cells")
        self._db.close()


async def test_a_tick_that_cannot_be_written_leaves_no_hole_and_its_decision_comes_later(house):
    await house.embedded.publish([delivered("o-1")])
    with Full(house), pytest.raises(sqlite3.IntegrityError, match="disk full"):
        await house.embedded.tick(START + timedelta(days=3))
    house.clock.now = START + timedelta(days=4)
    (answer,) = await house.embedded.publish([delivered("o-2", at=house.clock.now)])
    (partition,) = {answer.token.partition}
    assert [record.offset for record in house.log.scan(partition)] == list(range(house.log.end_now(partition)))
    assert [codec.open_data(event).data.about for event in house.events("follow_up.requested")] == ["o-1"]


class Held:
    """While it holds, every commit waits."""

    def __init__(self, house):
        self._db = sqlite3.connect(house.path, isolation_level=None)

    def __enter__(self):
        self._db.execute("BEGIN IMMEDIATE")
        return self._db

    def __exit__(self, *_):
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._db.close()


async def begun(house, *orders):
    """Publishing each order by itself, as far as it comes while nothing can be committed."""
    publishing = [asyncio.create_task(house.embedded.publish([delivered(order)])) for order in orders]
    await asyncio.sleep(0)
    assert not any(task.done() for task in publishing)
    return publishing


async def test_what_comes_while_the_disk_is_waited_for_is_taken_behind_it_and_counted_once(house):
    with Held(house):
        first, second, again = await begun(house, "o-1", "o-2", "o-1")
    answers = [await publishing for publishing in (first, second, again)]
    assert [type(answer) for (answer,) in answers] == [Taken, Taken, Duplicate]
    assert answers[0][0].token == answers[2][0].token
    assert [codec.open_data(event).data.order_id for event in house.events("Order Delivered")] == ["o-1", "o-2"]


async def test_a_commit_that_fails_takes_with_it_what_came_behind_it_and_all_of_it_may_come_again(house):
    await house.embedded.publish([delivered("o-1")])
    with Held(house) as other:
        publishing = await begun(house, "o-2", "o-3", "o-2")
        other.execute("CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        other.execute("COMMIT")
        failures = await asyncio.gather(*publishing, return_exceptions=True)
        other.execute("DROP TRIGGER full")
    assert [type(failure) for failure in failures] == [sqlite3.IntegrityError, AbandonedError, AbandonedError]
    assert len(house.events("Order Delivered")) == 1
    answers = await house.embedded.publish([delivered("o-2"), delivered("o-3"), delivered("o-1")])
    assert [type(answer) for answer in answers] == [Taken, Taken, Duplicate]
    assert await house.embedded.tick(START + timedelta(days=3))
    assert len(house.events("follow_up.requested")) == 3


async def test_who_does_not_wait_any_longer_has_published_all_the_same(house):
    with Held(house):
        (publishing,) = await begun(house, "o-1")
        publishing.cancel()
        await asyncio.wait([publishing])
    assert isinstance((await house.embedded.publish([delivered("o-1")]))[0], Duplicate)
    assert len(house.events("Order Delivered")) == 1


async def test_engines_that_could_not_be_read_back_are_not_used_until_they_can(house):
    await house.embedded.publish([delivered("o-1")])
    for _ in range(2):
        with Full(house, reading=True), pytest.raises(sqlite3.Error):
            await house.embedded.publish([delivered("o-2")])
    house.clock.now = START + timedelta(days=4)
    await house.embedded.publish([delivered("o-3", at=house.clock.now)])
    assert [codec.open_data(event).data.about for event in house.events("follow_up.requested")] == ["o-1"]
    assert len(house.events("rule.activated")) == 2


async def test_a_restart_goes_on_where_it_stopped(house):
    await house.embedded.publish([delivered("o-1")])
    await house.open(ask_rule())
    assert house.embedded.next_due() == START + timedelta(days=3)
    await house.embedded.tick(START + timedelta(days=3))
    await house.open(ask_rule())
    await house.embedded.tick(START + timedelta(days=30))
    assert len(house.events("follow_up.requested")) == 1
    assert len(house.events("rule.activated")) == 2  # the rule and the policy, on the partition of acc-1


@pytest.mark.parametrize("kept", [False, True])
async def test_after_a_crash_the_tail_of_the_log_says_what_was_not_written_down(house, kept):
    orders = [delivered(f"o-{number}", subject=f"acc-{number % 7}") for number in range(60)]
    taken = await house.embedded.publish(orders[:40])
    if kept:
        await house.embedded.keep()
    taken += await house.embedded.publish(orders[40:])
    await house.open(ask_rule())
    again = await house.embedded.publish(orders)
    assert [(type(answer), answer.token) for answer in again] == [(Duplicate, answer.token) for answer in taken]
    await house.embedded.tick(START + timedelta(days=3))
    asked = [codec.open_data(event).data.about for event in house.events("follow_up.requested")]
    assert sorted(asked) == sorted(f"o-{number}" for number in range(60))


async def test_what_is_written_down_is_bounded_by_the_log_and_waits_for_a_quiet_moment(house, monkeypatch):
    monkeypatch.setattr(kept_cells, "KEEP_EVERY", SHARES)

    def behind():
        ends = [house.log.end_now(partition) for partition in range(house.log.partitions)]
        return sum(end - house.log.engine_state(number).position for number, end in enumerate(ends))

    for number in range(200):
        await house.embedded.publish([delivered(f"o-{number}", subject=f"acc-{number}")])
    assert 0 < behind() <= 4 * (SHARES + 2)
    await house.embedded.tick(START)
    await house.embedded.tick(START)
    assert behind() > 0
    await house.embedded.tick(START + timedelta(seconds=1))
    assert behind() == 0


async def test_a_history_is_written_down_as_it_is_lived_whatever_else_is_said_between_its_days(house, monkeypatch):
    monkeypatch.setattr(kept_cells, "KEEP_EVERY", 20 * SHARES)
    monkeypatch.setattr(kept_cells, "KEEP_LIVED_EVERY", 30)
    for number in range(120):
        house.clock.now = START + timedelta(hours=number)
        day = [delivered(f"o-{number}-{one}", subject=f"acc-{one}", at=house.clock.now) for one in range(4)]
        await house.embedded.publish(day, as_lived=True)
        await house.embedded.publish([delivered(f"relayed-{number}", subject=f"acc-{number}", at=house.clock.now)])
        for partition, state in enumerate(house.engine_states()):
            assert house.log.end_now(partition) - state.position <= 4 * (30 + 8)


async def test_what_is_indexed_in_a_quiet_moment_ends_when_somebody_publishes(house, monkeypatch):
    loop, index_some, published = asyncio.get_running_loop(), house.log.index_some, []

    def beside_a_publisher():
        if len(published) < 20:
            event = delivered(f"o-{len(published)}")
            published.append(asyncio.run_coroutine_threadsafe(house.embedded.publish([event]), loop))
        return index_some()

    monkeypatch.setattr(house.log, "index_some", beside_a_publisher)
    await house.embedded.publish([delivered("o-first")])
    await house.embedded.keep()
    assert 0 < len(published) < 10
    await asyncio.gather(*map(asyncio.wrap_future, published))


async def test_what_is_written_down_in_a_quiet_moment_is_a_share_at_a_time_until_somebody_publishes(house, monkeypatch):
    loop, commit, written, published = asyncio.get_running_loop(), house.log.commit, [], []

    def beside_a_publisher(*several):
        written.append(sum(len(writes.cells) for writes in several))
        if len(written) == 3:
            published.append(asyncio.run_coroutine_threadsafe(house.embedded.publish([delivered("o-now")]), loop))
        commit(*several)

    await house.embedded.publish([delivered("o-first", subject=f"acc-{number}") for number in range(9)])
    await house.embedded.keep()  # what is known of the rules is, in every partition
    await house.embedded.publish([delivered(f"o-{number}", subject=f"acc-{number}") for number in range(400)])
    monkeypatch.setattr(house.log, "commit", beside_a_publisher)
    await house.embedded.keep()
    await asyncio.wrap_future(published[0])
    assert len(written) < 6
    await house.embedded.keep()
    assert len(written) > SHARES
    assert max(written) < sum(written) / 8
    ends = [house.log.end_now(partition) for partition in range(house.log.partitions)]
    assert [set(state.shares) for state in house.engine_states()] == [{end} for end in ends]


async def test_who_takes_up_between_two_shares_holds_what_one_fold_of_the_log_comes_to(house, monkeypatch):
    monkeypatch.setattr(kept_cells, "KEEP_EVERY", 2 * SHARES)
    apart = 0
    for number in range(150):
        house.clock.now = START + timedelta(hours=number)
        await house.embedded.publish([delivered(f"o-{number}", subject=f"acc-{number % 40}", at=house.clock.now)])
        if number % 19 == 18:
            apart += sum(len(set(state.shares)) > 1 for state in house.engine_states())
            await house.open(ask_rule())
    assert apart > 20
    await house.embedded.tick(house.clock.now)
    asked = [codec.open_data(event).data.about for event in house.events("follow_up.requested")]
    assert sorted(asked) == sorted(f"o-{number}" for number in range(150 - 3 * 24))
    await house.embedded.keep()
    kept = house.engine_states()
    await house.lose_engines_and_open(ask_rule())
    await house.embedded.keep()
    assert house.engine_states() == kept
    assert len(house.events("follow_up.requested")) == len(asked)


async def test_lost_engine_state_is_folded_again_and_nothing_is_decided_twice(house):
    for day in range(0, 30, 3):
        house.clock.now = START + timedelta(days=day)
        await house.embedded.publish(
            [delivered(f"o-{day}-{n}", at=house.clock.now, subject=f"acc-{n}") for n in range(9)]
        )
    before, kept = house.events(), house.engine_states()
    await house.lose_engines_and_open(ask_rule())
    assert house.events() == before
    house.clock.now += timedelta(days=1)
    await house.embedded.publish([delivered("last", at=house.clock.now, subject=f"acc-{n}") for n in range(9)])
    again = house.engine_states()
    assert [state.basis for state in again] == [state.basis for state in kept]
    await house.embedded.tick(START + timedelta(days=31))
    abouts = [(event.subject, codec.open_data(event).data.about) for event in house.events("follow_up.requested")]
    assert len(abouts) == len(set(abouts)) == 99


async def test_what_falls_due_while_a_past_is_told_once_more_is_known_in_the_same_order_when_the_log_is_folded_again(
    house,
):
    house.clock.now = START + timedelta(days=60)
    again = codec.new_event(
        OrderDelivered(order_id="o-1"), id="again", source="test", subject="acc-2", time=house.clock.now
    )
    await house.embedded.publish([delivered("o-1"), again])
    house.clock.now += timedelta(hours=2)
    assert await house.embedded.tick()
    assert len(house.events("follow_up.skipped")) == 1
    linked = codec.new_event(
        IdentityLinked(account="acc-2"), id="link", source=SOURCE, subject="acc-1", time=house.clock.now
    )
    await house.embedded.publish([linked])
    mover = Mover(house.log, house.embedded)
    while house.log.next_move():  # the wake of acc-2 fires at whatever is told once more on its day
        await mover.step(1)
        house.clock.now += timedelta(days=3)
    await house.embedded.keep()

    kept = house.engine_states()
    await house.lose_engines_and_open(ask_rule())
    await house.embedded.keep()
    assert house.engine_states() == kept


async def test_a_changed_rule_folds_its_past_in_silence_and_emits_from_there_on(house):
    await house.embedded.publish([delivered("o-1")])
    await house.embedded.tick(START + timedelta(days=3))
    await house.embedded.publish([delivered("o-2", at=START + timedelta(minutes=1))])
    await house.open(ask_rule(version=2, after=timedelta(days=5)))
    house.clock.now = START + timedelta(days=4)
    await house.embedded.publish([delivered("o-3", at=house.clock.now)])
    await house.embedded.tick(START + timedelta(days=10))
    asked = [codec.open_data(event).data for event in house.events("follow_up.requested")]
    assert [(data.about, data.rule_version) for data in asked] == [("o-1", 1), ("o-2", 2), ("o-3", 2)]


async def test_a_rule_that_fails_hurts_no_other_rule_and_is_reported(house):
    await house.open(failing_rule(), ask_rule())
    assert isinstance((await house.embedded.publish([delivered("o-1")]))[0], Taken)
    await house.embedded.tick(START + timedelta(days=3))
    assert len(house.events("follow_up.requested")) == 1
    assert house.log.dead_letters() == 1


async def test_who_is_parked_is_told_to_prometheus_and_after_a_restart_too(house):
    def parked():
        house.embedded.count_parked()
        found = [prometheus_client.REGISTRY.get_sample_value("engage_parked_accounts", one) for one in places]
        return sum(one for one in found if one is not None)

    places = [{"partition": str(number), "rule": "failing"} for number in range(house.log.partitions)]
    await house.open(failing_rule())
    await house.embedded.publish([delivered("o-1"), delivered("o-2"), delivered("o-3", subject="acc-2")])
    assert parked() == 2
    await house.open(failing_rule())
    assert parked() == 2
    mended = Rule("failing", version=2, settings=AskSettings(), state=NoState)
    await house.open(mended)
    await house.embedded.tick(START)
    assert parked() == 0


@pytest.mark.parametrize("spoiled", ["policy", "ask"])
async def test_engine_state_of_another_shape_is_folded_anew(house, spoiled):
    house.embedded = (await house.open(counting_rule())).embedded
    await house.embedded.publish([delivered(f"o-{number}") for number in range(4)])
    await house.embedded.tick(START + timedelta(days=3))
    await house.embedded.keep()
    before = house.events()
    with sqlite3.connect(house.path) as other:
        other.execute(
            "UPDATE cells SET value = ? WHERE rule = ?", (b'{"state": {"asked": "many"}, "consent": 5}', spoiled)
        )
        for partition, basis in other.execute("SELECT partition, basis FROM partitions").fetchall():
            of_another_shape = {rule: [*told[:3], "other"] for rule, told in msgspec.msgpack.decode(basis).items()}
            other.execute(
                "UPDATE partitions SET basis = ? WHERE partition = ?",
                (msgspec.msgpack.encode(of_another_shape), partition),
            )
    other.close()
    await house.open(counting_rule())
    assert [event for event in house.events() if event.type != "rule.activated"] == [
        event for event in before if event.type != "rule.activated"
    ]
    house.clock.now = START + timedelta(days=4)
    await house.embedded.publish([delivered("o-5", at=house.clock.now)])
    assert house.embedded.next_due() == START + timedelta(days=7)
    await house.embedded.tick(START + timedelta(days=7))
    assert [codec.open_data(event).data.why for event in house.events("follow_up.requested")][-1] == "number 5"


async def tried(house, *events):
    """What is answered; a writer that another one has kept out is asked again."""
    try:
        return await house.embedded.publish(events)
    except LogMovedError:
        return await house.embedded.publish(events)


async def test_two_that_write_to_one_file_take_nothing_twice_and_lose_nothing(house, tmp_path, capsys):
    other = await House(tmp_path).open(ask_rule())
    with pytest.raises(LogMovedError, match=r"another process writes to .*log\.db: nothing of this was written"):
        await house.embedded.publish([delivered("o-1")])
    assert isinstance((await house.embedded.publish([delivered("o-1")]))[0], Taken)
    assert isinstance((await tried(other, delivered("o-1")))[0], Duplicate)
    await tried(other, delivered("o-2"))
    with pytest.raises(LogMovedError):  # nor would it write down how its engines stood
        house.log.commit(Writes(engines={0: ([0], b"\x80")}))
    assert isinstance((await tried(house, delivered("o-2")))[0], Duplicate)
    assert "another process has written to the log" in "".join(capsys.readouterr())
    await other.embedded.close()
    other.log.close()


async def test_two_that_write_in_turns_come_to_what_one_would(house, tmp_path):
    chance = random.Random(20261127)
    await house.open(counting_rule())
    other = await House(tmp_path).open(counting_rule())
    for number in range(40):
        writer = chance.choice([house, other])
        writer.clock.now = START + timedelta(days=number // 2)
        of = chance.randrange(number + 1)  # some come again
        await tried(writer, delivered(f"o-{of}", subject=f"acc-{of % 6}", at=START + timedelta(days=of // 2)))
        if chance.random() < 0.3:
            with contextlib.suppress(LogMovedError):
                await writer.embedded.keep()
    asked = house.events("follow_up.requested")
    assert len({(event.subject, codec.open_data(event).data.why) for event in asked}) == len(asked) > 10
    identities = [event.identity for event in house.events()]
    assert len(set(identities)) == len(identities)
    await other.embedded.close()
    other.log.close()
    await house.open(counting_rule())
    stored = [sorted(state.cells) for state in house.engine_states()]
    await house.lose_engines_and_open(counting_rule())
    assert [sorted(state.cells) for state in house.engine_states()] == stored
