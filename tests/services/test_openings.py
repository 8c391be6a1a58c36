"""Openings are looked for once a day, found once, and lead to a follow-up, through a real platform of one process."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from engage import bootstrap
from engage.log.contract import Taken
from engage.services import openings
from engage.services.openings import best_opening
from engage.services.platform import Platform
from engage.settings import Settings
from projections.shared.cross_sell import Offerings, Pair, offerings
from projections.shared.follow_ups import FollowUpRow, follow_ups
from tests.http.given import Clock


def event(name: str, subject: str, clock: Clock, **data: Any) -> bytes:
    return json.dumps(
        {
            "specversion": "1.0",
            "id": f"{name} {subject} {clock.now}",
            "source": "urn:test",
            "type": name,
            "subject": subject,
            "time": clock.now.isoformat(),
            "data": data,
        }
    ).encode()


def purchase(subject: str, clock: Clock, *categories: str) -> bytes:
    products = [{"product_id": name, "category": name} for name in categories]
    return event("Order Completed", subject, clock, order_id=f"o-{subject}", total=10.0, products=products)


async def publish(platform: Platform, events: Iterable[bytes]) -> None:
    answers = await platform.publish(list(events))
    assert all(isinstance(answer, Taken) for answer in answers), answers


async def camping(platform: Platform, clock: Clock) -> None:
    """Who buys tents buys stoves; two buy tents alone, of whom one is looked after."""
    both = [purchase(f"both-{n:02}", clock, "tents", "stoves") for n in range(12)]
    others = [purchase(f"other-{n:02}", clock, "shoes") for n in range(30)]
    alone = [purchase(name, clock, "tents") for name in ("reseller-1", "passer-by")]
    await publish(platform, [*both, *others, *alone, event("Account Identified", "reseller-1", clock, kind="reseller")])
    await platform.settle()


async def asked(platform: Platform) -> list[FollowUpRow]:
    await platform.settle()
    return platform.store.select(follow_ups, {"rule": "cross-sell-opening"})


async def test_an_opening_leads_to_a_follow_up(platform: Platform, clock: Clock) -> None:
    await camping(platform, clock)
    assert await platform.openings.step() == 1
    [found] = await asked(platform)
    assert (found.account, found.about, found.status) == ("reseller-1", "category|stoves", "open")
    assert found.why.startswith("12 of 14 similar accounts have the category “stoves”")


async def test_the_live_process_looks_by_itself(platform: Platform, clock: Clock) -> None:
    await camping(platform, clock)
    while await platform.turns.turn():
        pass
    assert platform.turns.troubles == {}
    assert [one.account for one in await asked(platform)] == ["reseller-1"]


async def test_it_is_looked_once_a_day_and_found_once(platform: Platform, clock: Clock) -> None:
    await camping(platform, clock)
    assert await platform.openings.step() == 1
    assert await platform.openings.step() == 0
    clock.move(days=1)
    await publish(platform, [purchase("reseller-2", clock, "tents")])
    await publish(platform, [event("Account Identified", "reseller-2", clock, kind="reseller")])
    await platform.settle()
    assert await platform.openings.step() == 1
    assert sorted(one.account for one in await asked(platform)) == ["reseller-1", "reseller-2"]
    clock.move(days=1)
    await publish(platform, [purchase("other-99", clock, "shoes")])
    await platform.settle()
    assert await platform.openings.step() == 0


async def test_a_new_process_finds_nothing_anew(tmp_path: Path, clock: Clock) -> None:
    for expected in (1, 0):
        async with bootstrap.platform(Settings(home=str(tmp_path)), clock=clock) as platform:
            if expected:
                await camping(platform, clock)
            assert await platform.openings.step() == expected
            assert len(await asked(platform)) == 1


async def test_what_another_process_told_as_well_is_told_once(platform: Platform, clock: Clock) -> None:
    await camping(platform, clock)
    second = openings.Openings(platform.log, platform.store, platform.publisher, clock)
    assert [await platform.openings.step(), await second.step()] == [1, 1]
    assert len(await asked(platform)) == 1
    assert platform.store.get(offerings, "reseller-1") is not None


async def test_a_turn_looks_at_few_accounts_and_the_next_goes_on(
    platform: Platform, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openings, "ACCOUNTS_AT_ONCE", 10)
    await camping(platform, clock)
    told = [await platform.openings.step() for _ in range(6)]
    assert sorted(told) == [0, 0, 0, 0, 0, 1]


def pair(having: str, opening: str, lift: float) -> Pair:
    return Pair(f"category|{having}|{opening}", "category", having, opening, 20, 10, 15, 100, 0.5, lift)


OFFERED = {"category|tents": [pair("tents", "stoves", 5.0), pair("tents", "lamps", 3.0)]} | {
    "category|shoes": [pair("shoes", "socks", 4.0)]
}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (Offerings("a", "reseller", categories={"tents": 1, "shoes": 1}), "stoves"),
        (Offerings("a", "reseller", categories={"tents": 1, "shoes": 1, "stoves": 1}), "socks"),
        (Offerings("a", "reseller", categories={"tents": 1}, found={"category|stoves": 1}), "lamps"),
        (Offerings("a", "customer", "manager-1", categories={"shoes": 1}), "socks"),
        (Offerings("a", "customer", categories={"shoes": 1}), None),
        (Offerings("a", "reseller", categories={"hats": 1}), None),
    ],
)
def test_the_best_opening_is_what_is_lacking_and_was_not_found_yet(row: Offerings, expected: str | None) -> None:
    best = best_opening(row, OFFERED)
    assert (best and best.opening) == expected
