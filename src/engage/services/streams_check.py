"""A live check of a streams worker: one synthetic account goes from the inbox to a decision and back onto the log."""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct

from engage.events import codec
from engage.events.catalogue.deliveries import DeliveryReceived
from engage.events.envelope import Event
from engage.log.kafka_publisher import KafkaPublisher
from engage.log.partitioning import partition_of
from engage.log.topics import Topics, broker_errors, check_topics
from engage.rules.decisions import TYPES as DECISIONS

PREFIX = "engage-check-"
"""What the account ids of checks begin with: their events and decisions stay on the log, as everything does."""
SECONDS = 30.0
_ATTEMPT_SECONDS = 5.0
_DELIVERIES = 8
_POLL_MS = 20


class CheckFailedError(RuntimeError):
    """The synthetic account did not come through: the message says how far it came, and what to look at."""


class Checked(Struct, frozen=True):
    """Milliseconds from publishing until the event was on the log, the decision in the inbox, and then on the log."""

    account: str
    decision: str
    event_on_log: float
    decision_in_inbox: float
    decision_on_log: float


async def check(bootstrap: str, topics: Topics, *, seconds: float = SECONDS) -> Checked:
    """Publish late deliveries of an account of its own, until the rule about slipping deliveries has spoken.

    A worker that has just started has no rules active yet, and says nothing of what came before: after 5 s it is tried
    again with another account. CheckFailedError if none has come through within ``seconds``; LayoutError or
    BrokerUnavailableError if Kafka is not as it should be.
    """
    layout = await check_topics(bootstrap, topics)
    end = time.perf_counter() + seconds
    with broker_errors(bootstrap, "checking the streams worker"):
        async with KafkaPublisher(bootstrap, topics) as publisher:
            while True:
                left = end - time.perf_counter()
                try:
                    return await _attempt(bootstrap, topics, layout.partitions, publisher, min(_ATTEMPT_SECONDS, left))
                except CheckFailedError:
                    if time.perf_counter() >= end:
                        raise


async def _attempt(
    bootstrap: str, topics: Topics, partitions: int, publisher: KafkaPublisher, seconds: float
) -> Checked:
    account = f"{PREFIX}{uuid.uuid4()}"
    partition = partition_of(account, partitions)
    inbox, log = TopicPartition(topics.inbox, partition), TopicPartition(topics.interactions, partition)
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        fetch_max_wait_ms=_POLL_MS,
    ) as watch:
        ends = await watch.end_offsets([inbox, log])
        watch.assign([inbox, log])
        for tp, end in ends.items():
            watch.seek(tp, end)
        events = [_late(account, number) for number in range(_DELIVERIES)]
        begun = time.perf_counter()
        await publisher.publish(events)
        return await _watched(watch, inbox, account, events[-1].id, begun, seconds)


async def _watched(watch: Any, inbox: TopicPartition, account: str, last: str, begun: float, seconds: float) -> Checked:
    found: dict[str, float] = {}
    decision = ""
    while len(found) < 3:
        passed = time.perf_counter() - begun
        if passed > seconds:
            raise CheckFailedError(_missing(found, account, seconds))
        for tp, records in (await watch.getmany(timeout_ms=_POLL_MS)).items():
            passed = (time.perf_counter() - begun) * 1_000
            for record in records:
                if record.key != account.encode():
                    continue
                event = codec.decode(record.value)
                if event.type in DECISIONS:
                    decision = event.id
                    found.setdefault("decision_in_inbox" if tp == inbox else "decision_on_log", passed)
                elif tp != inbox and event.id == last:
                    found.setdefault("event_on_log", passed)
        await asyncio.sleep(0)
    # A fetch of the one topic may show a step before a fetch of the other shows what led to it.
    decided = min(found["decision_in_inbox"], found["decision_on_log"])
    return Checked(
        account=account,
        decision=decision,
        event_on_log=min(found["event_on_log"], decided),
        decision_in_inbox=decided,
        decision_on_log=found["decision_on_log"],
    )


def _missing(found: dict[str, float], account: str, seconds: float) -> str:
    if "event_on_log" not in found:
        where = "its events are in the inbox, but not on the log: see that intake runs, and what it says"
    elif "decision_in_inbox" not in found:
        where = "its events are on the log, but no rule has decided: see that the rules run, and what they say"
    else:
        where = "the decision is in the inbox, but not on the log: see what intake says"
    return f"the account {account!r} did not come through in {seconds:.0f} s: {where}"


def _late(account: str, number: int) -> Event[Any]:
    now = datetime.now(UTC)
    delivery = DeliveryReceived(
        delivery_id=f"check-{number}",
        promised=now - timedelta(days=10 + number),
        received=now,
        units_ordered=1,
        units_received=1,
    )
    return codec.new_event(delivery, id=f"{account}-{number}", source="urn:engage:check", subject=account, time=now)
