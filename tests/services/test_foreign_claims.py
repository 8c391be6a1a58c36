"""Nothing from outside passes for engage's own, and a clock that was set back stops no work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from engage import bootstrap
from engage.events.validation import Refusal
from engage.log.contract import Taken
from engage.relationships.aggregate import published_id
from engage.services.platform import Platform
from projections.shared.follow_ups import follow_ups

pytestmark = pytest.mark.anyio

START = datetime(2026, 1, 1, 10, tzinfo=UTC)


class SetByHand:
    """A clock that stands until somebody sets it."""

    def __init__(self) -> None:
        self.moment = START

    def __call__(self) -> datetime:
        return self.moment


def told(number: int | str, kind: str, data: dict[str, Any], source: str = "urn:shop") -> bytes:
    envelope = {"specversion": "1.0", "id": str(number), "source": source, "type": kind, "subject": "acc"}
    return msgspec.json.encode(envelope | {"time": START, "data": data})


CONSENT = told("c", "Consent Given", {"channel": "email", "purpose": "research"})
DELIVERED = told("d", "Order Delivered", {"order_id": "o-1"})


@pytest.fixture
def clock() -> SetByHand:
    return SetByHand()


@pytest.fixture
async def platform(tmp_path: Path, clock: SetByHand) -> AsyncIterator[Platform]:
    settings = bootstrap.settings({"ENGAGE_HOME": str(tmp_path)})
    async with bootstrap.platform(settings, clock=clock) as platform:
        await platform.publish([CONSENT, DELIVERED])
        yield platform


async def test_nobody_takes_the_id_that_an_acknowledged_command_will_have(platform: Platform, clock: SetByHand) -> None:
    clock.moment = START + timedelta(days=3, minutes=10)
    await platform.settle()
    [row] = platform.store.select(follow_ups)
    follow_up = UUID(row.follow_up)
    [answer] = await platform.publish([told(published_id(follow_up, 2), "x", {}, source="engage/relationships")])
    assert isinstance(answer, Refusal)
    assert platform.desk.complete(follow_up, "sent", "ada", clock()).status == "completed"
    await platform.settle()
    assert [row.status for row in platform.store.select(follow_ups)] == ["completed"]


async def test_work_goes_on_when_the_clock_was_fast_and_is_set_right(platform: Platform, clock: SetByHand) -> None:
    clock.moment = START + timedelta(days=3, minutes=10)
    assert platform.embedded is not None
    assert await platform.embedded.tick()
    clock.moment = START + timedelta(days=3, minutes=1)
    stop = asyncio.Event()
    work = asyncio.create_task(platform.run(stop))
    async with asyncio.timeout(20):
        while not work.done() and not any(row.status == "open" for row in platform.store.select(follow_ups)):
            await platform.log.wait({0: await platform.log.end(0)}, 0.05)
    stop.set()
    await work
    [answer] = await platform.publish([told("later", "Robot Waved", {})])
    assert isinstance(answer, Taken)


async def test_what_is_personal_never_lies_on_the_log_in_plain_words(platform: Platform) -> None:
    person = "john@secret.org"
    tricks = [
        told(1, "Account Identified", {"email": f"sealed:{person}"}),
        told(2, "Robot Waved", {"undeclared": f"sealed:{person}"}),
        told(3, "Account Identified", {"email": None}).replace(b'{"email":', f'{{"email":"{person}","email":'.encode()),
        told(4, "Account Identified", {"email": person}).replace(b'"acc"', b'"market:x"'),
        told(5, "Robot Waved", {"email": person}).replace(b'"acc"', b'"market:x"'),
        told(6, "Robot Waved", {}).replace(b'"acc"', f'"acc","contact":"{person}"'.encode()),
        told(7, "Robot Waved", {}).replace(b'"acc"', f'" {person} "'.encode()),
        told(8, "Robot Waved", {}),
    ]
    answers = await platform.publish(tricks)
    assert [isinstance(answer, Taken) for answer in answers] == [number == 8 for number in range(1, 9)]
    values = [
        record.value
        for partition in range(platform.log.partitions)
        for record in (await platform.log.read(partition, 0, 1_000)).records
    ]
    assert values
    assert not any(b"secret" in value for value in values)
