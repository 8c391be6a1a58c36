"""What ``benchmarks.streams`` puts on a log: orders of a thousand accounts, and the demo's mix with rules active."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any

from aiokafka import AIOKafkaProducer
from msgspec import Raw

from engage.demo.history import history
from engage.events import codec
from engage.events.catalogue.commerce import OrderCompleted, Product
from engage.events.envelope import Event
from engage.events.sealing import AccountKey, new_secret
from engage.log.partitioning import partition_of
from engage.log.topics import Topics
from engage.rules.engine import Engine
from engage.services.partition_runner import activated
from streams import RULES

PARTITIONS = 4
ACCOUNTS = 1_000
START = datetime(2026, 1, 1, tzinfo=UTC)


class LoneKey:
    """One key for all accounts: sealing is not what is measured here."""

    def __init__(self) -> None:
        self._key = AccountKey(1, new_secret())

    def current(self, accounts: Iterable[str]) -> dict[str, AccountKey]:
        return dict.fromkeys(accounts, self._key)

    def at_hand(self, accounts: Iterable[str]) -> dict[str, AccountKey]:
        return self.current(accounts)

    def all_of(self, account: str) -> dict[int, AccountKey]:
        return {1: self._key}


def orders(count: int) -> list[Event[Raw]]:
    """Orders of about 430 bytes on the log."""
    events = []
    for number in range(count):
        products = (Product(product_id=f"cd-{number % 977}", price=11.77, category="music", quantity=1 + number % 3),)
        data = OrderCompleted(order_id=f"order-{number}", total=float(number % 500), currency="EUR", products=products)
        account = f"acc-{number * 7919 % ACCOUNTS:05d}"
        moment = START + timedelta(milliseconds=number)
        event = codec.new_event(data, id=f"order-{number}", source="urn:engage:benchmark", subject=account, time=moment)
        event.recorded, event.inboxoffset = moment, number
        events.append(event)
    return events


def lived(count: int) -> list[Event[Raw]]:
    """The first events of the demo's history, recorded when they happened, behind the activation of every rule."""
    told = history(today=date(2026, 11, 1), now=datetime(2026, 11, 1, 18, tzinfo=UTC), scale=0.5)
    chosen = list(islice(told, count))
    events: list[Event[Raw]] = []
    for partition in range(PARTITIONS):
        wanted = Engine(partition, RULES).activations()
        events += [activated(activation, partition, 0, chosen[0].time) for activation in wanted]
    for number, event in enumerate([*events, *chosen]):
        event.recorded, event.inboxoffset = event.time, number
    return [*events, *chosen]


async def fill(bootstrap: str, topics: Topics, events: Iterable[Event[Raw]], *, transaction: str | None = None) -> int:
    """Put events onto the log as intake would; how many bytes they are. In a ``transaction``, all are seen at once."""
    now, size = int(time.time() * 1_000), 0
    async with (
        AIOKafkaProducer(
            bootstrap_servers=bootstrap, acks="all", max_batch_size=1 << 20, transactional_id=transaction
        ) as producer,
        producer.transaction() if transaction else nullcontext(),
    ):
        sent: list[Any] = []
        batches = [producer.create_batch() for _ in range(PARTITIONS)]
        for event in events:
            name = event.subject
            home = int(name.partition(":")[2]) if name.startswith("partition:") else partition_of(name, PARTITIONS)
            key, value = name.encode(), codec.encode(event)
            size += len(value)
            if batches[home].append(timestamp=now, key=key, value=value) is None:
                batches[home].close()
                sent.append(await producer.send_batch(batches[home], topics.interactions, partition=home))
                batches[home] = producer.create_batch()
                batches[home].append(timestamp=now, key=key, value=value)
        for home, batch in enumerate(batches):
            batch.close()
            sent.append(await producer.send_batch(batch, topics.interactions, partition=home))
        for future in sent:
            await future
    return size
