"""Rules' pasts folded ahead of what asks for them, bit by bit: whoever publishes is answered in between.

What operators say of a rule (it goes on with an account, or altogether) is a record like any other, and what it does
is done before the next one is taken: by then it has to be there. Between two bits the loop turns, and no record that is
on the log changes, so what is folded stays true whatever comes in meanwhile; the few records behind it are folded when
the word is taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from msgspec import Struct

from engage.events.envelope import Event
from engage.log.contract import Log, Record
from engage.services.partition_runner import PartitionRunner
from engage.services.rule_past import RulePast, Skips

BIT = 100
"""Records between two turns of the loop: half a millisecond of a rule's own past, as long as a thread would hold it;
more where the log grows by more."""


class Ahead(Struct, frozen=True):
    """What of a partition's past is folded for the words that come next: what is to be passed over, and the rules'."""

    skips: Skips
    pasts: list[RulePast]


async def folded_ahead(log: Log, runner: PartitionRunner, words: Iterable[Event[Any]]) -> Ahead | None:
    """What ``words`` will need of it, up to the end of ``log`` by then; None if they need nothing."""
    skips, needed = Skips(), dict[str, RulePast]()
    for word in words:
        if (past := runner.past_for(word)) is not None:
            needed[past.name] = past
        skips.note(word)
    if not needed:
        return None
    async for records, end in _bits(log, runner.partition):
        skips.look(records, end)
    pasts = [RulePast(name, past.engine, skips.of(name)) for name, past in needed.items()]
    for past in pasts:
        async for records, _ in _bits(log, runner.partition):
            past.fold(records)
    return Ahead(skips, pasts)


async def _bits(log: Log, partition: int) -> AsyncIterator[tuple[Sequence[Record], int]]:
    position, known = 0, await log.end(partition)
    while position < (end := await log.end(partition)):
        # Twice what came since the last bit, or a busy log's end would never be reached.
        batch = await log.read(partition, position, BIT + 2 * (end - known))
        position, known = batch.next_position, end
        yield batch.records, position
        await asyncio.sleep(0)
