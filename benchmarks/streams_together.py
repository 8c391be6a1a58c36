"""Several workers of ``benchmarks.streams`` that share the partitions of one log.

They wait for an empty log until the group has shared it out. It is then filled in one transaction: workers that read
what is committed begin at its end, all at once; stock Faust, which reads the rest too, a moment before.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from msgspec import Raw

from benchmarks.harness import PROJECT
from benchmarks.streams_contenders import STEP, TOLD, group_of
from benchmarks.streams_load import PARTITIONS, fill
from engage.events.envelope import Event
from engage.log.topics import Topics, create_topics

WORKERS = 2
_SECONDS = 120.0
_STABLE = "Stable"


def together(name: str, bootstrap: str, events: list[Event[Raw]]) -> float:
    """Events a second of ``WORKERS`` processes of the contender ``name``, from the first event to the last commit."""
    return asyncio.run(_together(name, bootstrap, events))


async def _together(name: str, bootstrap: str, events: list[Event[Raw]]) -> float:
    topics = Topics(f"bench-{uuid.uuid4().hex[:8]}")
    await create_topics(bootstrap, PARTITIONS, topics=topics)
    command = [sys.executable, "-m", "benchmarks.streams_contenders", name, bootstrap, topics.prefix, "0"]
    workers = [
        await asyncio.create_subprocess_exec(
            *command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, limit=1 << 20
        )
        for _ in range(WORKERS)
    ]
    try:
        async with asyncio.timeout(_SECONDS):
            await _shared_out(bootstrap, group_of(name, topics))
            heard = [asyncio.create_task(worker.stdout.readline()) for worker in workers if worker.stdout]
            await fill(bootstrap, topics, events, transaction=topics.prefix)
            return await _rate(workers, heard, len(events))
    except TimeoutError:
        late = f"{name}: {WORKERS} workers did not tell of {len(events)} events in {_SECONDS:.0f} s"
        raise RuntimeError(f"{late}: run one by itself to see why") from None
    finally:
        for worker in workers:
            worker.kill()
            await worker.wait()


async def _rate(workers: list[Any], heard: list[asyncio.Task[bytes]], wanted: int) -> float:
    """What the workers tell, line by line, until all is done but what they tell no more."""
    begun, ended, count = float("inf"), 0.0, 0
    while count <= wanted - WORKERS * STEP:
        await asyncio.wait(heard, return_when=asyncio.FIRST_COMPLETED)
        for place, line in enumerate(heard):
            if line.done():
                if not line.result():
                    raise RuntimeError(f"a worker ended after {count} of {wanted} events: run it by itself to see why")
                word, *told = line.result().decode().split()
                if word == TOLD:
                    moment, done = float(told[0]), int(told[1])
                    begun, ended, count = min(begun, moment), max(ended, moment), count + done
                heard[place] = asyncio.create_task(workers[place].stdout.readline())
    for line in heard:
        line.cancel()
    return count / (ended - begun)


async def _shared_out(bootstrap: str, group: str) -> None:
    """Wait until the group has all its workers and has shared out the partitions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        while True:
            [answer] = await admin.describe_consumer_groups([group])
            [(_, _, state, _, _, members, *_)] = answer.groups
            if state == _STABLE and len(members) == WORKERS:
                return
            await asyncio.sleep(0.2)
    finally:
        await admin.close()
