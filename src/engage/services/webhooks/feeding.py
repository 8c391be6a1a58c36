"""Queues what endpoints want to hear: reads on from where each was told, and moves that in one transaction with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import structlog

from engage.events.envelope import Event
from engage.log.contract import Log, Record
from engage.relationships.application import Relationships
from engage.services.letters.unread import WEBHOOKS, Keep, Read, Wanted, read_on, reread
from engage.services.webhooks import message
from engage.services.webhooks.matching import Known, kinds_of, look_up, wants, wants_account
from engage.store.views import ViewMissingError, ViewStore
from engage.store.webhooks import LOG, Cursor, CursorMovedError, Endpoint, WebhookStore
from engage.views.projection import ReadModel
from projections.shared.profile import profile

_logger = structlog.get_logger(__name__)


class Feeding:
    """Feeds the queue of ``store``; several may run on one store, each step is made once.

    A cursor of another log, or of a view that was made anew, goes to the end: what is told again there was told before.
    ``keep`` takes what cannot be read.
    """

    def __init__(
        self,
        store: WebhookStore,
        log: Log,
        views: ViewStore,
        models: Sequence[ReadModel[Any]],
        relationships: Relationships,
        clock: Callable[[], datetime],
        keep: Keep,
    ) -> None:
        self._store = store
        self._log = log
        self._views = views
        self._models = {f"view:{model.name}": model for model in models}
        self._relationships = relationships
        self._clock = clock
        self._keep = keep

    async def step(self, all_endpoints: Iterable[Endpoint], limit: int) -> int:
        """Queue what enabled ones hear in up to ``limit`` records or changes of each place; how many were read."""
        endpoints = {one.id: one for one in all_endpoints if one.disabled is None}
        if not endpoints:
            return 0
        together: dict[tuple[str, int, str, int], list[Cursor]] = {}
        for cursor in await asyncio.to_thread(self._store.cursors, list(endpoints)):
            place = (cursor.stream, cursor.partition, cursor.generation, cursor.position)
            together.setdefault(place, []).append(cursor)
        read = 0
        for cursors in together.values():
            try:
                read += await self._told(cursors, endpoints, limit)
            except CursorMovedError as error:
                _logger.warning("webhook_cursor_moved", detail=str(error))
            except ViewMissingError:
                continue  # it is being folded: what readers may not see is not told either
        return read

    async def ends(self, streams: Sequence[str], *, beginning: bool = False) -> list[Cursor]:
        """Where these streams end now, or begin; cursors without an endpoint."""
        found = []
        for stream in streams:
            for partition in range(self._log.partitions):
                if stream == LOG:
                    end = 0 if beginning else await self._log.end(partition)
                    found.append(Cursor("", stream, partition, self._log.generation, end))
                else:
                    epoch, change = await asyncio.to_thread(self._last_change, stream, partition)
                    found.append(Cursor("", stream, partition, epoch, 0 if beginning else change))
        return found

    async def _told(self, cursors: Sequence[Cursor], endpoints: dict[str, Endpoint], limit: int) -> int:
        first = cursors[0]
        if first.stream != LOG:
            return await asyncio.to_thread(self._tell_changes, cursors, endpoints, limit)
        if first.generation != self._log.generation:
            return await self._leap(cursors, self._log.generation, await self._log.end(first.partition))
        batch = await self._log.read(first.partition, first.position, limit)
        if batch.next_position == first.position:
            return 0
        wanted = frozenset(name for one in cursors for name in endpoints[one.endpoint].subscription.events)
        heard = await read_on(batch.records, WEBHOOKS, _is_wanted(wanted), self._keep)
        subscribed = [endpoints[cursor.endpoint] for cursor in cursors]
        rows = await asyncio.to_thread(self._rows_of, heard, subscribed)
        await asyncio.to_thread(self._tell, cursors, batch.next_position, rows)
        return max(1, len(batch.records))

    async def again(self, all_endpoints: Iterable[Endpoint], partition: int, offset: int) -> None:
        """Queue what could not be read before for those that want to hear it now; see ``unread.Again``."""
        endpoints = [one for one in all_endpoints if one.disabled is None]
        wanted = frozenset(name for one in endpoints for name in one.subscription.events)
        if found := await reread(self._log, WEBHOOKS, partition, offset, _is_wanted(wanted)):
            rows = await asyncio.to_thread(self._rows_of, [found], endpoints)
            await asyncio.to_thread(self._store.tell, {}, rows)

    def _rows_of(self, heard: Sequence[Read], endpoints: Sequence[Endpoint]) -> list[dict[str, Any]]:
        subscriptions = [one.subscription for one in endpoints]
        if heard and any(one.kinds for one in subscriptions):
            self._must_include(*heard[-1])
        known = look_up([event for _, event in heard], subscriptions, self._relationships, self._views)
        return [
            self._row(
                endpoint.id,
                record.partition,
                message.of_event(event),
                event.subject,
                event.type,
                record.offset,
                record.value,
            )
            for endpoint in endpoints
            for record, event in heard
            if wants(endpoint.subscription, event, known)
        ]

    def _tell_changes(self, cursors: Sequence[Cursor], endpoints: dict[str, Endpoint], limit: int) -> int:
        first = cursors[0]
        model = self._models.get(first.stream)
        epoch = None if model is None else self._views.epoch(model)
        if model is None or epoch is None:
            return 0
        if first.generation != epoch:
            _, change = self._last_change(first.stream, first.partition)
            self._store.tell({one: _moved(one, epoch, change) for one in cursors}, ())
            _logger.warning("a view was made anew, webhooks hear of what changes from here on", view=model.name)
            return 1
        changes = self._views.changes(model, first.partition, first.position, limit)
        if not changes:
            return 0
        accounts = [getattr(row, "account", None) or key for key, row, _, _ in changes]
        by_kind = any(endpoints[cursor.endpoint].subscription.kinds for cursor in cursors)
        known = Known({}, kinds_of(self._views, accounts) if by_kind else {})
        now = self._clock()
        rows = []
        for changed, account in zip(changes, accounts, strict=True):
            identity, value = message.of_change(model, epoch, first.partition, changed, now)
            rows += [
                self._row(cursor.endpoint, cursor.partition, identity, account, message.VIEW_CHANGED, changed[2], value)
                for cursor in cursors
                if wants_account(endpoints[cursor.endpoint].subscription, account, known)
            ]
        self._tell(cursors, changes[-1][2], rows)
        return len(changes)

    def _must_include(self, record: Record, event: Event[Any]) -> None:
        offset = record.offset if event.inboxoffset is None else event.inboxoffset
        if self._views.behind([profile], record.partition, offset):
            raise ViewMissingError("the profiles do not include these events yet")

    def _row(
        self, endpoint: str, partition: int, identity: str, account: str, kind: str, offset: int, value: bytes
    ) -> dict[str, Any]:
        return {
            "endpoint": endpoint,
            "message": identity,
            "account": account,
            "type": kind,
            "partition": partition,
            "offset": offset,
            "value": value,
            "state": "waiting",
            "attempts": 0,
            "queued_at": self._clock(),
        }

    def _tell(self, cursors: Sequence[Cursor], position: int, rows: Sequence[dict[str, Any]]) -> None:
        self._store.tell({one: _moved(one, one.generation, position) for one in cursors}, rows)

    async def _leap(self, cursors: Sequence[Cursor], generation: str, end: int) -> int:
        _logger.warning("this is another log, webhooks hear of what comes from here on", log=generation)
        steps = {one: _moved(one, generation, end) for one in cursors}
        await asyncio.to_thread(self._store.tell, steps, ())
        return 1

    def _last_change(self, stream: str, partition: int) -> tuple[str, int]:
        model = self._models[stream]
        epoch = self._views.epoch(model)
        if epoch is None:
            return "", 0  # it was never folded here: as soon as it is, its end is looked up
        return epoch, self._views.last_changes(model).get(partition, 0)


def _is_wanted(types: Collection[str]) -> Wanted:
    return lambda event: event.type in types and not event.is_copy  # a copy was told where it was said


def _moved(cursor: Cursor, generation: str, position: int) -> Cursor:
    return Cursor(cursor.endpoint, cursor.stream, cursor.partition, generation, position)
