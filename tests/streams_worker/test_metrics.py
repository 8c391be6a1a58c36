"""What the worker counts, as Prometheus fetches it: true to what is committed, and after a crash to who is parked."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from engage.events import codec
from engage.events.catalogue.follow_up import FollowUpRequested, FollowUpSkipped
from engage.log.contract import Record
from engage.rules.decisions import TYPES as DECISIONS
from engage.services import metrics
from engage.settings import SettingsError
from engage.testing.log_contract import order
from tests.log.inbox import upstream
from tests.log.kafka_platform import KafkaPlatform, kafka_platform
from tests.streams_worker.given import PATIENCE, account_of, active, events, settled, worker
from tests.streams_worker.probes import FRAGILE, later

ORDERS = 180

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(200)]


@pytest.fixture
async def platform(kafka: str) -> AsyncIterator[KafkaPlatform]:
    async with kafka_platform(kafka, partitions=2) as platform:
        yield platform


async def figures(port: int, name: str, label: str) -> Counter[str]:
    """What stands at ``/metrics`` under a name, summed by a label; nothing while nobody answers."""
    found: Counter[str] = Counter()
    async with httpx.AsyncClient() as client:
        try:
            answer = await client.get(f"http://{metrics.HOST}:{port}/metrics")
        except httpx.TransportError:
            return found
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            if sample.name == name and sample.value:
                found[sample.labels.get(label, "")] += int(sample.value)
    return found


async def shows(port: int, name: str, label: str, expected: Counter[str]) -> None:
    """Wait until the figures are these."""
    found: Counter[str] = Counter()
    try:
        async with asyncio.timeout(PATIENCE):
            while (found := await figures(port, name, label)) != expected:
                await asyncio.sleep(0.1)
    except TimeoutError:
        pass
    assert found == expected, name


async def decided_on(platform: KafkaPlatform, orders: int) -> dict[int, list[Record]]:
    """Every record by partition, once the rule that speaks last has spoken on so many orders."""
    async with asyncio.timeout(PATIENCE):
        while True:
            logs = await settled(platform)
            if sum(each.rule == later.name for each in decisions(logs)) >= orders:
                return logs
            await asyncio.sleep(0.2)


def decisions(logs: dict[int, list[Record]]) -> list[FollowUpRequested | FollowUpSkipped]:
    return [codec.open_data(event).data for event in events(logs, *DECISIONS)]


async def test_what_was_committed_is_counted_and_who_is_parked_is_known_after_a_crash(
    platform: KafkaPlatform, home: Path, free_port: int
) -> None:
    async with upstream(platform) as shop:
        await shop.send(b"garbage", 0)
    with worker(platform, home, free_port) as process:
        await active(platform)
        await platform.publish([order(number, account_of(number)) for number in range(ORDERS)])
        logs = await decided_on(platform, ORDERS)
        parked = {event.subject for event in events(logs, "Order Completed") if event.subject.startswith(FRAGILE)}
        assert len(parked) == 3
        await shows(free_port, "engage_parked_accounts", "rule", Counter(fragile=len(parked)))
        await shows(free_port, "engage_dead_letters_total", "class", Counter(not_json=1, failed=len(parked)))
        outcomes = Counter(str(getattr(each, "reason", "requested")) for each in decisions(logs))
        assert outcomes["requested"] >= ORDERS / 3
        await shows(free_port, "engage_decisions_total", "outcome", outcomes)
        on_log = Counter({"": sum(len(records) for records in logs.values())})
        await shows(free_port, "engage_events_taken_total", "", on_log)
        await shows(free_port, "engage_events_folded_total", "", on_log)
        process.send_signal(signal.SIGKILL)
    with worker(platform, home, free_port):
        await shows(free_port, "engage_parked_accounts", "rule", Counter(fragile=len(parked)))
        assert await figures(free_port, "engage_dead_letters_total", "class") == Counter()


def test_a_port_that_is_taken_is_refused_with_a_word(free_port: int) -> None:
    metrics.serve(free_port)
    with pytest.raises(SettingsError, match="a port of its own"):
        metrics.serve(free_port)


def test_nobody_listens_unasked() -> None:
    metrics.serve(0)
