"""Keys that are new wait for the disk, nobody suffers for another's; what is too old is refused before it goes on."""

import asyncio
import json
import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from msgspec import Raw

from engage.events.envelope import Event
from engage.events.sealing import AccountKey
from engage.events.validation import Refusal
from engage.services.edge import Edge
from engage.testing.keyring import MemoryKeyring

START = datetime(2026, 3, 1, 9, tzinfo=UTC)
MOMENT = 10.0
"""Seconds after which a test gives up."""


class Slow(MemoryKeyring):
    """Notes who is asked for at a time, and makes no key before it is let; ``lost`` has one that cannot be read."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[set[str]] = []
        self.reached, self.let = threading.Event(), threading.Event()
        self.lost = ""

    def current(self, accounts: Iterable[str]) -> dict[str, AccountKey]:
        asked = set(accounts)
        self.asked.append(asked)
        self.reached.set()
        assert self.let.wait(MOMENT)
        if self.lost in asked:
            raise LookupError(f"the key of {self.lost} was altered")
        return super().current(asked)


def identified(account: str, time: datetime = START) -> bytes:
    data = {"name": "Ada Lovelace"}
    attributes = {"specversion": "1.0", "id": "i", "source": "urn:shop", "type": "Account Identified"}
    return json.dumps(attributes | {"subject": account, "time": time.isoformat(), "data": data}).encode()


async def taken(keyring: Slow, *accounts: str) -> list[asyncio.Task[list[Event[Raw] | Refusal]]]:
    """An event of each account by itself, where all others come while the first waits for its key."""
    edge = Edge(keyring, lambda: START)
    first, *others = accounts
    taking = [asyncio.create_task(edge.take([identified(first)]))]
    assert await asyncio.to_thread(keyring.reached.wait, MOMENT)
    taking += [asyncio.create_task(edge.take([identified(account)])) for account in others]
    await asyncio.sleep(0)
    keyring.let.set()
    await asyncio.wait(taking)
    return taking


async def test_who_needs_new_keys_while_others_wait_for_theirs_is_asked_for_together() -> None:
    keyring = Slow()
    for taking in await taken(keyring, "ada", "bob", "eve"):
        (event,) = taking.result()
        assert isinstance(event, Event)
        assert b"Lovelace" not in bytes(event.data)
    assert keyring.asked == [{"ada"}, {"bob", "eve"}]


async def test_a_key_that_cannot_be_read_hurts_no_account_that_was_asked_for_with_it() -> None:
    keyring = Slow()
    keyring.lost = "bob"
    ada, bob, eve = await taken(keyring, "ada", "bob", "eve")
    assert isinstance(bob.exception(), LookupError)
    assert ada.exception() is eve.exception() is None


async def test_what_happened_before_the_time_for_which_duplicates_are_known_is_refused_at_the_edge() -> None:
    edge = Edge(MemoryKeyring(), lambda: START, timedelta(days=30))
    latest = START - timedelta(days=30)
    taken, refused = await edge.take([identified("ada", latest), identified("ada", latest - timedelta(seconds=1))])
    assert isinstance(taken, Event)
    assert isinstance(refused, Refusal)
    assert refused.reason == "too_old"
