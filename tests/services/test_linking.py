"""A visitor that turned out to be an account: its story goes there, sealed anew, is counted once, and comes back."""

import json
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from engage import bootstrap
from engage.events.sealing import ERASED
from engage.log.contract import Duplicate, Taken
from engage.log.sqlite import SqliteLog
from engage.services.as_of import as_of
from engage.services.known_accounts import NoSuchAccountError
from engage.services.linking import LinkingError, NotLinkedError, link, unlink
from engage.services.platform import Platform
from engage.services.privacy import LinkedError, erase, held_on
from engage.services.whole_as_of import whole_as_of
from engage.settings import Settings
from engage.store.views import ViewStore
from projections.customers.campaigns import campaigns
from projections.customers.engagement import engagement
from projections.shared.follow_ups import follow_ups
from projections.shared.identities import identities
from projections.shared.profile import profile
from projections.shared.timeline import timeline
from tests.http.given import START, Clock

VISITOR, ACCOUNT = "anonymous:7f3c", "customer-17"


def event(name: str, number: int, account: str, data: dict[str, Any], day: float = -1) -> bytes:
    shape = {"specversion": "1.0", "id": f"{name}-{number}", "source": "urn:shop", "type": name, "subject": account}
    return json.dumps(shape | {"time": (START + timedelta(days=day)).isoformat(), "data": data}).encode()


def order(number: int, account: str, day: float = -1) -> bytes:
    return event("Order Completed", number, account, {"order_id": f"o-{number}", "total": 10, "currency": "EUR"}, day)


async def publish(platform: Platform, *events: bytes) -> None:
    assert all(isinstance(answer, Taken) for answer in await platform.publish(list(events)))
    await platform.settle()


async def both(platform: Platform) -> None:
    await publish(platform, order(1, VISITOR), order(2, ACCOUNT), order(3, VISITOR))


def orders(platform: Platform) -> Counter[tuple[str, str]]:
    return orders_in(platform.store)


def orders_in(store: ViewStore) -> Counter[tuple[str, str]]:
    rows = store.select(timeline)
    return Counter((row.account, row.event_id[-1]) for row in rows if row.type == "Order Completed")


def interactions(platform: Platform) -> dict[str, int]:
    return {row.account: row.interactions for row in platform.store.select(profile)}


async def test_its_story_goes_to_the_account_what_comes_later_too_and_comes_back(platform: Platform):
    await both(platform)
    done = await link(platform, VISITOR, ACCOUNT, "ada")
    assert done.changed
    await publish(platform, order(4, VISITOR, 0))
    assert orders(platform) == {(ACCOUNT, number): 1 for number in "1234"}
    assert interactions(platform) == {ACCOUNT: 4}
    [identity] = platform.store.select(identities)
    assert (identity.visitor, identity.account, identity.linked_by) == (VISITOR, ACCOUNT, "ada")

    await unlink(platform, VISITOR)
    await publish(platform, order(5, VISITOR, 0))
    assert orders(platform) == {(VISITOR, number): 1 for number in "1345"} | {(ACCOUNT, "2"): 1}
    assert interactions(platform) == {VISITOR: 4, ACCOUNT: 1}
    assert platform.store.select(identities) == []


async def test_what_was_published_before_is_known_after_it(platform: Platform):
    await both(platform)
    await link(platform, VISITOR, ACCOUNT)
    assert [type(answer) for answer in await platform.publish([order(1, VISITOR), order(4, VISITOR)])] == [
        Duplicate,
        Taken,
    ]
    assert [type(answer) for answer in await platform.publish([order(4, VISITOR)])] == [Duplicate]


async def test_linked_twice_or_in_a_ring_is_said_in_words_and_chains_hold(platform: Platform):
    await both(platform)
    await publish(platform, order(6, "customer-18"))
    await link(platform, VISITOR, ACCOUNT)
    assert not (await link(platform, VISITOR, ACCOUNT)).changed
    with pytest.raises(LinkingError, match=r"is linked to 'customer-17': unlink it first"):
        await link(platform, VISITOR, "customer-18")
    with pytest.raises(LinkingError, match=r"both would belong to nobody"):
        await link(platform, ACCOUNT, VISITOR)
    with pytest.raises(LinkingError, match=r"linked to itself"):
        await link(platform, ACCOUNT, ACCOUNT)
    with pytest.raises(NoSuchAccountError):
        await link(platform, "anonymous:nobody", ACCOUNT)
    with pytest.raises(NotLinkedError):
        await unlink(platform, ACCOUNT)
    assert (await link(platform, ACCOUNT, "customer-18")).holder == "customer-18"
    await publish(platform, order(7, VISITOR, 0))
    assert orders(platform) == {("customer-18", number): 1 for number in "12367"}
    await unlink(platform, VISITOR)
    await platform.settle()
    assert orders(platform) == {(VISITOR, number): 1 for number in "137"} | {("customer-18", n): 1 for n in "26"}


async def test_its_timers_end_and_nothing_is_asked_twice(platform: Platform, clock: Clock):
    delivered = {"order_id": "o-1"}
    await publish(
        platform,
        event("Order Delivered", 1, VISITOR, delivered, -2),
        event("Ticket Opened", 1, VISITOR, {"ticket_id": "t-1", "priority": "urgent"}, 0),
        order(2, ACCOUNT),
    )
    clock.move(hours=9)
    await platform.settle()
    asked = Counter((row.account, row.rule) for row in platform.store.select(follow_ups))
    assert (VISITOR, "support-answer-overdue") in asked
    await link(platform, VISITOR, ACCOUNT)
    clock.move(days=3)
    await platform.settle()
    later = Counter((row.account, row.rule) for row in platform.store.select(follow_ups)) - asked
    assert (ACCOUNT, "post-sale-survey") in later, "its timer runs on, at the account"
    assert not [rule for account, rule in later if account == VISITOR or rule == "support-answer-overdue"], later


async def test_sums_of_events_count_them_once(platform: Platform):
    advert = {"campaign": "spring", "cost": 1, "currency": "EUR"}
    await publish(platform, event("Advert Shown", 1, VISITOR, advert), order(2, ACCOUNT))

    def sums() -> str:
        return repr(platform.store.merged(campaigns))

    before = sums()
    await link(platform, VISITOR, ACCOUNT)
    await platform.settle()
    assert sums() == before
    assert {row.account for row in platform.store.select(engagement)} == {ACCOUNT}
    await unlink(platform, VISITOR)
    await platform.settle()
    assert sums() == before


async def copy_of(platform: Platform, account: str) -> list[Any]:
    models = platform.projector.projections
    held = await held_on(platform.log, platform.keyring, models, account, platform.clock(), platform.store)
    return [one["data"].get("name") for one in held.events if one["type"] == "Account Identified"]


async def test_what_is_sealed_is_sealed_anew_and_erased_with_the_account(platform: Platform):
    await publish(platform, event("Account Identified", 1, VISITOR, {"name": "Ada Lovelace-Byron"}), order(2, ACCOUNT))
    await link(platform, VISITOR, ACCOUNT)
    assert await copy_of(platform, ACCOUNT) == ["Ada Lovelace-Byron"]
    platform.keyring.forget(VISITOR, 1)
    assert await copy_of(platform, ACCOUNT) == ["Ada Lovelace-Byron"], "it needs the account's key alone"


async def test_who_erases_the_account_erases_who_it_was(platform: Platform):
    await publish(platform, event("Account Identified", 1, VISITOR, {"name": "Ada Lovelace-Byron"}), order(2, ACCOUNT))
    await link(platform, VISITOR, ACCOUNT)
    with pytest.raises(LinkedError, match=r"erase that one, and both are"):
        await erase(platform, VISITOR, "ada")
    await erase(platform, ACCOUNT, "ada")
    assert await copy_of(platform, ACCOUNT) == [ERASED]
    assert await copy_of(platform, VISITOR) == [ERASED]
    assert platform.keyring.all_of(VISITOR) == {}


async def test_a_copy_of_what_is_held_has_nothing_of_who_is_somebody_else_after_all(platform: Platform):
    await publish(platform, event("Account Identified", 1, VISITOR, {"name": "Ada Lovelace-Byron"}), order(2, ACCOUNT))
    await link(platform, VISITOR, ACCOUNT)
    await unlink(platform, VISITOR)
    assert await copy_of(platform, ACCOUNT) == []


async def test_the_past_of_an_account_is_what_it_was_then(platform: Platform, clock: Clock):
    await both(platform)
    clock.move(hours=1)
    moments = [clock()]
    for step in (link(platform, VISITOR, ACCOUNT), unlink(platform, VISITOR)):
        clock.move(hours=1)
        await step
        await platform.settle()
        moments.append(clock())
    clock.move(hours=1)
    seen = []
    for moment in moments:
        for account in (VISITOR, ACCOUNT):
            async with as_of(platform.log, [profile], moment, clock(), account=account, store=platform.store) as then:
                seen.append([row.interactions for row in then.select(profile)])
    assert seen == [[2], [1], [], [3], [2], [1]]


async def test_a_whole_timeline_of_before_is_folded_once_its_rows_have_gone_elsewhere(platform: Platform, clock: Clock):
    await both(platform)
    story, at = orders(platform), clock()
    clock.move(hours=1)
    then = await platform.past.then(timeline, at)
    assert await platform.past.lives(then)
    await link(platform, VISITOR, ACCOUNT)
    await platform.settle()
    assert not await platform.past.lives(then)
    async with whole_as_of(platform.log, timeline, at, clock(), platform.past.snapshots) as folded:
        assert orders_in(folded) == story
    assert await platform.past.lives(await platform.past.then(timeline, clock()))


async def test_a_log_from_before_is_brought_up_to_date(tmp_path: Path):
    with closing(SqliteLog(tmp_path / "log.db")):
        pass
    with sqlite3.connect(tmp_path / "log.db") as old:
        old.executescript("DROP TABLE links; DROP TABLE moves; ALTER TABLE partitions DROP COLUMN shares")
        old.execute("UPDATE meta SET value = '2' WHERE name LIKE 'schema%'")
    old.close()
    with closing(SqliteLog(tmp_path / "log.db")) as log:
        assert (log.links(), log.next_move()) == ({}, None)


def killed(home: Path) -> int:
    """What a process that is killed in the middle of a move leaves in ``home``, and how it ended."""
    command = [sys.executable, "-m", "tests.services.moving_process", str(home)]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode


@pytest.mark.fault
async def test_a_move_that_was_killed_goes_on_and_every_event_is_told_once(tmp_path: Path, clock: Clock):
    assert killed(tmp_path) == -signal.SIGKILL
    async with bootstrap.platform(Settings(home=str(tmp_path)), clock=clock) as platform:
        assert platform.mover is not None
        assert platform.embedded is not None
        assert platform.embedded.log.next_move() is not None, "it was in the middle of it"
        await platform.settle()
        told = Counter(
            (row.account, row.event_id) for row in platform.store.select(timeline) if row.source == "urn:shop"
        )
        assert told == {(ACCOUNT, f"Order Completed-{number}"): 1 for number in range(1, 1_201)}
        assert interactions(platform) == {ACCOUNT: 1_200}
