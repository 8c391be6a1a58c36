"""Looks for what an account lacks and similar accounts have, once a day of the log's time, and tells the log.

What is found is a fact of engage's own that a rule may act on. It is found once: the account's row remembers it, and
its id follows from account and opening, so that two processes that look at the same time say the same. Accounts that
nobody looks after are passed over: there is nobody who could offer them anything.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import structlog
from msgspec import Raw, Struct

from engage.events import codec
from engage.events.catalogue import type_of
from engage.events.catalogue.cross_sell import CrossSellOpeningFound
from engage.events.envelope import EPOCH, Event
from engage.events.ours import SPEAKERS
from engage.events.validation import Refusal
from engage.log.contract import Log, Publisher
from engage.store.views import ViewStore
from projections.shared.cross_sell import Offerings, Pair, cross_sell, offerings, opening_key, taken
from streams.partners.cross_sell_opening import Settings

ACCOUNTS_AT_ONCE = 500
_LAST_RECORDS = 10
"""Records at a partition's end of which one is no marker of Kafka's transactions."""
_NAMESPACE = uuid.UUID("6c0a4a3e-8f0e-4d55-9d57-0b5f5f2f7c11")
_MOST_LIFT = 1e6

_logger = structlog.get_logger(__name__)


class _Round(Struct):
    """A look at all accounts: the lifts by what one has, and before which account it goes on (None: from the last)."""

    openings: dict[str, list[Pair]]
    before: str | None = None


class Openings:
    """``step`` does a bounded part of the day's round. It reads what the read models say by then, and waits for none.

    ``worth`` says which openings are worth a talk: those of the rule, and for the same reasons.
    """

    def __init__(
        self,
        log: Log,
        store: ViewStore,
        publisher: Publisher,
        clock: Callable[[], datetime],
        worth: Settings | None = None,
    ) -> None:
        self._log = log
        self._store = store
        self._publisher = publisher
        self._clock = clock
        self._worth = worth or Settings()
        self._ends: dict[int, int] = {}
        self._day = -1
        self._round: _Round | None = None

    async def step(self) -> int:
        """Look at the next accounts if it is time; how many openings were told to the log."""
        if self._round is None:
            day = await self._today()
            if day <= self._day:
                return 0
            self._round = _Round(await asyncio.to_thread(self._openings))
            self._day = day
        rows = await asyncio.to_thread(self._accounts, self._round)
        best = ((row.account, best_opening(row, self._round.openings)) for row in rows)
        found = [(account, pair) for account, pair in best if pair is not None]
        if found:
            await self._tell(found)
        if len(rows) < ACCOUNTS_AT_ONCE:
            self._round = None
        else:
            self._round.before = rows[-1].account
        return len(found)

    async def _today(self) -> int:
        """The day (since 1970-01-01) of the last record; only partitions that have grown are read."""
        day = self._day
        for partition in range(self._log.partitions):
            end = await self._log.end(partition)
            if end != self._ends.get(partition, 0):
                batch = await self._log.read(partition, max(0, end - _LAST_RECORDS), _LAST_RECORDS)
                day = max([day, *((record.recorded - EPOCH).days for record in batch.records)])
                self._ends[partition] = end
        return day

    def _openings(self) -> dict[str, list[Pair]]:
        """What is worth a talk with who has something, the greatest lift first."""
        worth = self._worth
        with self._store.snapshot(cross_sell) as (_, shards):
            pairs = cross_sell.merged(shards)
        found: dict[str, list[Pair]] = {}
        for pair in sorted(pairs, key=lambda pair: (-pair.lift, pair.pair)):
            if pair.similar >= worth.similar and pair.support >= worth.support and pair.lift >= worth.lift:
                found.setdefault(opening_key(pair.kind, pair.having), []).append(pair)
        return found

    def _accounts(self, round_: _Round) -> list[Offerings]:
        """The next accounts, fewer than asked for at the end; none where nothing can be found."""
        if not round_.openings:
            return []
        below = None if round_.before is None else ("account", round_.before)
        return self._store.select(offerings, below=below, order="account", descending=True, limit=ACCOUNTS_AT_ONCE)

    async def _tell(self, found: Sequence[tuple[str, Pair]]) -> None:
        now = self._clock()
        events = [_event(account, pair, now) for account, pair in found]
        for event, answer in zip(events, await self._publisher.publish(events), strict=True):
            if isinstance(answer, Refusal):
                _logger.error("the log refused an opening", account=event.subject, detail=str(answer))


def best_opening(row: Offerings, openings: Mapping[str, Sequence[Pair]]) -> Pair | None:
    """What the account lacks and has not been told of, with the greatest lift; None for who is looked after by none.

    One at a time: a manager with five proposals makes none.
    """
    if row.manager is None and row.kind in (None, "customer"):
        return None
    best: Pair | None = None
    for kind, names in taken(row):
        for name in names:
            for pair in openings.get(opening_key(kind, name), ()):
                if best is not None and pair.lift <= best.lift:
                    break
                if pair.opening not in names and opening_key(kind, pair.opening) not in row.found:
                    best = pair
                    break
    return best


def _event(account: str, pair: Pair, now: datetime) -> Event[Raw]:
    data = CrossSellOpeningFound(
        kind=pair.kind,
        opening=pair.opening,
        support=pair.support,
        similar=pair.similar,
        lift=min(pair.lift, _MOST_LIFT),
    )
    return codec.new_event(
        data,
        id=str(uuid.uuid5(_NAMESPACE, f"{account}\n{opening_key(pair.kind, pair.opening)}")),
        source=SPEAKERS[type_of(CrossSellOpeningFound)],
        subject=account,
        time=now,
    )
