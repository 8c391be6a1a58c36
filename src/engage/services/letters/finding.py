"""Finds the dead letters of every consumer: rules and intake where they keep them, read models in their store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import structs

from engage.events.envelope import OPERATIONS, PARTITION_SUBJECT, Event
from engage.log.contract import Log
from engage.near_names import meant
from engage.rules.mending import WORDS, consumer_of, opened
from engage.rules.policy import NAME as POLICY
from engage.services.letters.letter import (
    INTAKE,
    Chosen,
    DeadLetter,
    Details,
    NoSuchLetterError,
    Verb,
    WrongChoiceError,
    id_of,
)
from engage.services.letters.source import Refused, Source, Stopped
from engage.services.letters.unread import READERS, RULES, Unread
from engage.services.log_search import Wanted, at, find
from engage.services.view_words import consumer_of as view_consumer_of
from engage.store.views import ViewStore
from engage.views.aggregate import Aggregate
from engage.views.parking import Parked
from engage.views.projection import ReadModel

_UNTIL_THEN = "until then it alone stands still, as it stood before"
_PASSED = "rules went past it, and nobody can tell whose it was: have what it was to be published, then skip it"
_CUT = "only its first bytes were kept: have it published again, smaller"


class DeadLetters:
    """Every dead letter of a ``log``, its read models in ``store`` (None: not made yet), and of its ``source``."""

    def __init__(self, log: Log, store: ViewStore | None, models: Sequence[ReadModel[Any]], source: Source) -> None:
        self.log = log
        self.store = store
        self.models = models
        self.source = source

    async def listed(self, chosen: Chosen) -> list[DeadLetter]:
        """Those that are chosen, in the order of the log; what is erased, skipped or goes on is none any more.

        WrongChoiceError where none is, and no rule, read model or consumer has the name that was given.
        """
        found = [letter async for letter, _ in self._every() if chosen.fits(letter)]
        if not found:
            await self._must_be_there(chosen)
        return sorted(found, key=lambda one: (one.consumer, one.partition, one.offset, one.account))

    async def one(self, named: str) -> Details:
        """The letter whose id this is, or alone begins so; NoSuchLetterError if there is none."""
        found = [one async for one in self._every() if named and one[0].id.startswith(named)]
        if len(found) != 1:
            raise NoSuchLetterError(named)
        [(letter, error)] = found
        event = None if letter.consumer == INTAKE else await self._at(letter.partition, letter.offset)
        return Details(letter, error, None if event is None else msgspec.json.decode(msgspec.json.encode(event)))

    async def refused(self) -> list[tuple[DeadLetter, Refused]]:
        """What intake could not take, but for what was retried or skipped since."""
        found = await self.source.refused()
        settled = await self._settled((INTAKE, one.partition, one.offset, one.at) for one in found)
        return [(_of_intake(one), one) for one in found if (INTAKE, one.partition, one.offset) not in settled]

    async def unread(self) -> list[tuple[DeadLetter, Unread]]:
        """What who follows the log for some types could not read, but for what was retried or skipped since."""
        found = await self.source.unread()
        settled = await self._settled((one.consumer, one.partition, one.offset, one.at) for one in found)
        return [
            (await self._of_reader(one), one)
            for one in found
            if (one.consumer, one.partition, one.offset) not in settled
        ]

    async def _settled(self, kept: Iterable[tuple[str, int, int, datetime | None]]) -> set[tuple[str, int, int]]:
        """The consumers and places of those that an operator's word has settled since they were kept."""
        since = {(consumer, partition, offset): at for consumer, partition, offset, at in kept if at is not None}
        if not since:
            return set()
        wanted = Wanted(account=OPERATIONS, types=tuple(WORDS), since=min(since.values()))
        words = [opened(word) async for word in find(self.log, wanted)]
        told = [(word.data.consumer, word.data.partition, word.data.offset, word.time) for word in words if word]
        return {(*place,) for *place, time in told if (at := since.get((*place,))) is not None and time >= at}

    async def _every(self) -> AsyncIterator[tuple[DeadLetter, str]]:
        """Each letter and its whole error."""
        for stopped in await self.source.stopped():
            yield await self._of_rule(stopped), stopped.error or stopped.parked.error
        for model in self.models if self.store is not None else ():
            for parked in await asyncio.to_thread(self.store.parked, model):  # type: ignore[union-attr]
                yield await self._of_view(model, parked), parked.traceback
        for letter, refused in await self.refused():
            yield letter, refused.faults
        for letter, unread in await self.unread():
            yield letter, unread.error

    async def _at(self, partition: int, offset: int) -> Event[Any] | None:
        """The record there; None if there is none that is an event."""
        try:
            return await at(self.log, partition, offset)
        except (msgspec.DecodeError, ValueError):
            return None

    async def _must_be_there(self, chosen: Chosen) -> None:
        if chosen.rule is None and chosen.view is None and chosen.consumer is None:
            return
        views = [model.name for model in self.models]
        rules = sorted({POLICY}.union(*await self.source.bases()))
        consumers = [*map(consumer_of, rules), *map(view_consumer_of, views), INTAKE, *READERS]
        for what, name, known in (
            ("rule", chosen.rule, rules),
            ("read model", chosen.view, views),
            ("consumer", chosen.consumer, consumers),
        ):
            if name is not None and name not in known:
                raise WrongChoiceError(f"there is no {what} {name!r}: {meant(name, known)}")

    async def _of_reader(self, unread: Unread) -> DeadLetter:
        place = unread.partition, unread.offset
        record = await self._at(*place)
        cannot: dict[Verb, str] = {"retry": _PASSED} if unread.consumer == RULES else {}
        return DeadLetter(
            id=id_of(unread.consumer, unread.account, None, *place, unread.event_id),
            consumer=unread.consumer,
            fault=unread.error,
            account=unread.account,
            partition=unread.partition,
            offset=unread.offset,
            event_id=unread.event_id,
            since=unread.at if record is None else record.recorded,
            cannot=cannot,
        )

    async def _of_rule(self, stopped: Stopped) -> DeadLetter:
        consumer, parked = consumer_of(stopped.rule), stopped.parked
        record = await self._at(stopped.partition, parked.offset)
        cannot: dict[Verb, str] = {}
        named = id_of(consumer, stopped.account, None, stopped.partition, parked.offset, parked.event_id)
        if not parked.event_id:
            cannot["skip"] = (
                "no event broke it: the state that it had come to cannot be written down. Mend it (it is code, or a "
                f"setting), start engage anew, then `engage dead-letters retry {named}`; {_UNTIL_THEN}"
            )
        return DeadLetter(
            id=named,
            consumer=consumer,
            fault=parked.error,
            account=stopped.account,
            partition=stopped.partition,
            offset=parked.offset,
            event_id=parked.event_id,
            since=None if record is None else record.recorded,
            cannot=cannot,
        )

    async def _of_view(self, model: ReadModel[Any], parked: Parked) -> DeadLetter:
        consumer = view_consumer_of(model.name)
        record = await self._at(parked.partition, parked.offset)
        account, event_id = await self._of_row(model, parked, record), "" if record is None else record.id
        named = id_of(consumer, account, parked.key, parked.partition, parked.offset, event_id)
        cannot: dict[Verb, str] = {}
        if isinstance(model, Aggregate):
            said = f"it adds up what all accounts did: mend it, then `engage projections rebuild {model.name}`"
            cannot = {"retry": said, "skip": said}
        elif account.startswith(PARTITION_SUBJECT):
            said = f"whose it is cannot be told: mend it, then `engage projections rebuild {model.name}`"
            cannot = {"retry": said, "skip": said}
        elif record is not None and record.subject != account:
            cannot["skip"] = (
                "no event broke it: it failed when it was woken, by the time that passed. Mend the read model, start "
                f"engage anew, then `engage dead-letters retry {named}`; {_UNTIL_THEN}"
            )
        return DeadLetter(
            id=named,
            consumer=consumer,
            fault=parked.error,
            account=account,
            partition=parked.partition,
            offset=parked.offset,
            event_id=event_id,
            since=None if record is None else record.recorded,
            key=parked.key if parked.scope == "row" else None,
            missed=parked.skipped,
            cannot=cannot,
        )

    async def _of_row(self, model: ReadModel[Any], parked: Parked, record: Event[Any] | None) -> str:
        """The account of what stands still: that of its row, which may have failed at another's record.

        Of a row that was woken before it was ever stored, and has a key of its own, only that record is known.
        """
        if parked.scope == "account":
            return parked.key
        assert self.store is not None, "it has been asked for what is parked"
        try:
            row = (await asyncio.to_thread(self.store.load, model, [parked.key])).get(parked.key)
        except (msgspec.MsgspecError, ValueError, TypeError):  # a row that cannot be read back
            row = None
        known = None if row is None else structs.asdict(row).get("account")
        if isinstance(known, str) and known:
            return known
        if model.row.__struct_fields__[0] == "account" or record is None:
            return parked.key
        return record.subject


def _of_intake(refused: Refused) -> DeadLetter:
    account = refused.key.decode("utf-8", "replace")
    cannot: dict[Verb, str] = {}
    if refused.cut:
        cannot["retry"] = _CUT
    return DeadLetter(
        id=id_of(INTAKE, account, None, refused.partition, refused.offset, ""),
        consumer=INTAKE,
        fault=f"{refused.reason}: {refused.faults}".splitlines()[0][:200],
        account=account,
        partition=refused.partition,
        offset=refused.offset,
        since=refused.at,
        cannot=cannot,
    )
