"""Forgets the keys of accounts that were erased: what was sealed with them can be read by nobody any more.

The log says who was erased, so every store of keys learns of it, one restored from an old backup too: it reads on from
where it stood. Forgetting a key again does no harm.
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from engage.events.catalogue import type_of
from engage.events.catalogue.account import AccountErased
from engage.events.envelope import Event
from engage.log.contract import Log
from engage.log.sqlite import SqliteLog
from engage.services.letters.unread import ERASURES, Keep, only_logged, read_on, reread
from engage.services.records import read_type
from engage.services.snapshots import Snapshots
from engage.store.keys import KeyStore

ERASED = type_of(AccountErased)
_NOTED_EVERY = 10_000
"""Records that may pass before the position is noted although nobody was erased: what a restart reads again."""

_logger = structlog.get_logger(__name__)


class Erasures:
    """Carries out what ``log`` says of erased accounts on ``keys``, and drops the ``snapshots`` that knew them.

    ``keep`` takes what cannot be read.
    """

    def __init__(self, log: Log, keys: KeyStore, snapshots: Snapshots, keep: Keep = only_logged) -> None:
        self._log = log
        self._keys = keys
        self._snapshots = snapshots
        self._keep = keep
        self._positions: dict[int, int] = {}
        self._noted: dict[int, int] = {}

    async def step(self, limit: int) -> int:
        """Read up to ``limit`` records of each partition; how far it came, 0 when there was nothing new."""
        done = 0
        for partition in range(self._log.partitions):
            if partition not in self._positions:
                stored = await asyncio.to_thread(self._keys.erased_up_to, self._log.generation, partition)
                self._positions[partition] = self._noted[partition] = stored
            position = self._positions[partition]
            batch = await read_type(self._log, ERASED, partition, position, limit)
            found = await read_on(batch.records, ERASURES, _is_erased, self._keep)
            for _, event in found:
                await self._carry_out(event)
            self._positions[partition] = batch.next_position
            if found or batch.next_position - self._noted[partition] >= _NOTED_EVERY:
                await asyncio.to_thread(
                    self._keys.set_erased_up_to, self._log.generation, partition, batch.next_position
                )
                self._noted[partition] = batch.next_position
            done += batch.next_position - position
        return done

    async def again(self, partition: int, offset: int) -> None:
        """Carry out what could not be read before; see ``unread.Again``."""
        if found := await reread(self._log, ERASURES, partition, offset, _is_erased):
            await self._carry_out(found[1])

    async def _carry_out(self, event: Event[Any]) -> None:
        for account, generation in [(event.subject, event.data.generation), *event.data.linked.items()]:
            await asyncio.to_thread(self._keys.forget, account, generation)
        await asyncio.to_thread(self._snapshots.drop)
        if isinstance(self._log, SqliteLog):  # here, where it is written to: it knows one thread at a time
            self._log.forget_dead_letters(event.subject)
        _logger.info("account erased", account=event.subject, generation=event.data.generation)


def _is_erased(event: Event[Any]) -> bool:
    return event.type == ERASED
