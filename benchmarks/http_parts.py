"""Where the processor's time of a published event goes, without HTTP, in batches as ``Gathering`` makes them."""

from __future__ import annotations

import statistics
import tempfile
import time

from benchmarks.http_load import events
from engage import bootstrap
from engage.events.envelope import Event
from engage.events.validation import Refusal
from engage.interpreter import freeze, tune
from engage.log.contract import Taken
from engage.services.edge import Edge
from engage.services.gathering import MOST
from engage.services.platform import Platform, utc_now

BATCHES = 30


async def parts() -> dict[str, float]:
    """Microseconds an event: the median batch of each part, and of all together."""
    tune()
    with tempfile.TemporaryDirectory() as folder:
        settings = bootstrap.settings({"ENGAGE_HOME": folder})
        async with bootstrap.platform(settings) as platform:
            return await _measured(platform)


async def _measured(platform: Platform) -> dict[str, float]:
    log = platform.embedded
    assert log is not None, "ENGAGE_HOME alone means the embedded log"
    edge = Edge(platform.keyring, utc_now)
    for seed in range(3):
        await log.publish(events(MOST, seed))  # accounts, their keys and cells are there
    freeze()
    spent: dict[str, list[float]] = {}

    def note(part: str, seconds: float) -> None:
        spent.setdefault(f"processor, us an event: {part}", []).append(seconds / MOST * 1e6)

    for number in range(BATCHES):
        batch = events(MOST, 1_000 + number)
        begin = time.process_time()
        checked: list[Event | Refusal] = await edge.take(batch)
        note("check and seal", time.process_time() - begin)
        begin = time.process_time()
        assert not log.log.find([event.identity for event in checked if isinstance(event, Event)])
        note("look for duplicates", time.process_time() - begin)
        begin, on_loop = time.process_time(), time.thread_time()
        answers = await log.publish(batch)
        note("all of intake", time.process_time() - begin)
        note("all of intake on the event loop", time.thread_time() - on_loop)
        assert all(isinstance(answer, Taken) for answer in answers)
    return {part: statistics.median(values) for part, values in spent.items()}
