"""A person's rights: a copy of everything held on an account, and that it is forgotten.

To forget is to destroy the account's keys: log, backups and exports keep what was sealed, and nobody can read it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from engage.events import codec
from engage.events.catalogue import CATALOGUE, type_of
from engage.events.catalogue.account import AccountErased
from engage.events.envelope import is_account
from engage.events.linking import PARTED
from engage.events.named_ids import named_id
from engage.events.sealing import ERASED, AccountKey, is_sealed, unseal
from engage.events.validation import Refusal
from engage.log.contract import Log
from engage.log.topics import DEAD_LETTER_RETENTION, INBOX_RETENTION
from engage.services.as_of import as_of
from engage.services.known_accounts import NoSuchAccountError
from engage.services.linked import linked_to, links_of
from engage.services.log_search import Wanted, find, newest
from engage.services.platform import Platform
from engage.store.keys import KeyStore
from engage.store.views import ViewStore
from engage.views.projection import Projection, ReadModel

SOURCE = "engage/erasure"
_WAIT_SECONDS = 60.0
_PAGE = 10_000
_NAMESPACE = uuid.UUID("0b1f3c52-8f0a-4a86-8f53-5d2d1c8d9b7e").bytes


class ErasureError(RuntimeError):
    """The account was not erased, or it is not known yet that it was: the message says what to do."""


class LinkedError(ValueError):
    """The account is linked to another one, with which it is erased."""


class PersonalCopy(Struct, frozen=True):
    """Everything held on an account: its events with what is sealed in plain words, and its rows in every read model.

    ``erased``: some of it was sealed with keys that are gone, and reads ``[erased]``.
    """

    account: str
    as_of: datetime
    erased: bool
    events: list[dict[str, Any]]
    read_models: dict[str, list[dict[str, Any]]]


class Erased(Struct, frozen=True):
    """What came of it: keys up to ``generation`` are gone, 0 where nothing was ever sealed.

    ``gone_by``: when Kafka has dropped the last copies of what was published and refused, which it keeps for a while as
    they came; null where there are none.
    """

    account: str
    generation: int
    gone_by: datetime | None


async def held_on(
    log: Log,
    keys: KeyStore,
    models: Sequence[ReadModel[Any]],
    account: str,
    now: datetime,
    store: ViewStore | None = None,
) -> PersonalCopy:
    """A copy of everything on ``account``; NoSuchAccountError if there is nothing."""
    opened = await asyncio.to_thread(keys.all_of, account)
    events: list[dict[str, Any]] = []
    async for event in find(log, Wanted(account=account)):
        if event.type == PARTED:  # some of it was another's, and what is its own follows once more
            events.clear()
        events.append(_plain(event, opened))
    if not events or not is_account(account):
        raise NoSuchAccountError(account)
    ours = [model for model in models if isinstance(model, Projection)]
    rows: dict[str, list[dict[str, Any]]] = {}
    async with as_of(log, ours, now, now, account=account, store=store) as then:
        for model in ours:
            found = [msgspec.to_builtins(row, builtin_types=(datetime,)) for row in then.select(model)]
            if found:
                rows[model.name] = found
    erased = any(ERASED in event["data"].values() for event in events if isinstance(event["data"], dict))
    return PersonalCopy(account, now, erased, events, rows)


async def erase(platform: Platform, account: str, actor: str) -> Erased:
    """Say on the log that ``account`` is erased, and wait until its keys are gone.

    What is published of it afterwards is sealed with a new key. Asked again while there are keys, it is done again,
    whatever befell what was said before. NoSuchAccountError if there is nothing to erase; LinkedError if it is linked
    to another one; ErasureError if the log refuses it, or nobody carries it out in time. Those who are linked to it go
    with it.
    """
    if not is_account(account) or not await newest(platform.log, Wanted(account=account), 1):
        raise NoSuchAccountError(account)
    if (holder := (await links_of(platform, account)).holder(account)) is not None:
        raise LinkedError(f"{account!r} is linked to {holder!r}: erase that one, and both are; or unlink {account!r}")
    keys, now = platform.keyring, platform.clock()
    generation = await asyncio.to_thread(keys.newest_generation, account)
    visitors = await linked_to(platform, account)
    linked = {visitor: await asyncio.to_thread(keys.newest_generation, visitor) for visitor in visitors}
    generations = {account: generation, **linked}
    kept = None if platform.embedded else now + max(INBOX_RETENTION, DEAD_LETTER_RETENTION)
    told = "".join(f":{visitor}:{of_visitor}" for visitor, of_visitor in linked.items())
    if not await _gone(platform, generations):
        told += f":{now.isoformat()}"  # of what was said before, and cannot be read, the same would be a duplicate
    elif await newest(platform.log, Wanted(account=account, types=(type_of(AccountErased),)), 1):
        return Erased(account, generation, kept)
    event = codec.new_event(
        AccountErased(generation=generation, linked=linked),
        id=f"erasure:{generation}{'' if not told else named_id(_NAMESPACE, told)}",
        source=SOURCE,
        subject=account,
        time=now,
        actor=actor,
    )
    [answer] = await platform.publish([event])
    if isinstance(answer, Refusal):
        raise ErasureError(f"the log refused it: {answer}; nothing was erased")
    await _carried_out(platform, generations)
    return Erased(account, generation, kept)


def texts_of(held: PersonalCopy) -> list[str]:
    """What was written of a person in plain words, to be looked for where it must not stand: each text once.

    Short ones are left out, because they stand in other words: personal fields below five letters, others below twelve.
    """
    found: dict[str, None] = {}
    for event in held.events:
        kind = CATALOGUE.get(event["type"])
        data = event["data"] if isinstance(event["data"], dict) else {"": event["data"]}
        for name, value in data.items():
            if kind is not None and name in kind.fields and name not in kind.personal:
                continue
            least = 5 if kind is not None and name in kind.personal else 12
            found.update((text, None) for text in _texts(value) if len(text) >= least and text != ERASED)
    return list(found)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _plain(event: Any, keys: Mapping[int, AccountKey]) -> dict[str, Any]:
    """The event as CloudEvents write it, with what the keys open."""
    shape: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(event))
    data = shape.get("data")
    if isinstance(data, dict):
        shape["data"] = unseal(data, keys, event.subject)
    elif is_sealed(data):
        shape["data"] = ERASED
    return shape


async def _carried_out(platform: Platform, generations: Mapping[str, int]) -> None:
    """Wait until the keys are gone, whichever process does it."""
    account, loop = next(iter(generations)), asyncio.get_running_loop()
    deadline = loop.time() + _WAIT_SECONDS
    while True:
        ends = {one: await platform.log.end(one) for one in range(platform.log.partitions)}
        while await platform.erasures.step(_PAGE):
            pass
        if await _gone(platform, generations):
            return
        if loop.time() > deadline:
            raise ErasureError(
                f"it is said on the inbox that {account!r} is erased, and intake has not put it on the log within "
                f"{_WAIT_SECONDS:.0f} s: see that `engage worker streams` runs, then do the same again"
            )
        await platform.log.wait(ends, 1.0)


async def _gone(platform: Platform, generations: Mapping[str, int]) -> bool:
    """Whether no key of these accounts up to these generations is left."""
    kept = {one: await asyncio.to_thread(platform.keyring.all_of, one) for one in generations}
    return all(generation > generations[one] for one, held in kept.items() for generation in held)
