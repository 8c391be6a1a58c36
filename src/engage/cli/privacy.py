"""``engage access`` and ``engage erase``: a person's right to a copy, and to be forgotten."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engage.cli.output import (
    FAILED,
    NOT_FOUND,
    USAGE,
    Actor,
    CommandFailedError,
    JsonFlag,
    emit,
    moment,
    say,
    who,
)

if TYPE_CHECKING:
    from engage.services.plaintext import Found
    from engage.services.privacy import Erased, PersonalCopy
    from engage.settings import Settings

_PATIENCE = 1.0
"""Seconds: what is looked through by then needs no progress."""
Account = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account's id.")]


def access(
    account: Account,
    actor: Actor = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, which it is in any case.")] = True,
) -> None:
    """Write everything held on an account as JSON: its events, what was sealed opened, its rows in the read models."""
    del as_json  # a script need not know which commands have another form
    from engage import bootstrap
    from engage.cli.door import must_exist

    settings = bootstrap.settings()
    must_exist(settings)
    with bootstrap.trail(settings) as trail, trail.of(who(actor), "access", account):
        held = asyncio.run(_held(settings, account))
    emit(held)


def erase(
    account: Account,
    check: Annotated[
        bool, typer.Option("--check", help="Erase nothing: only look whether anything of it stands in plain words.")
    ] = False,
    beside: Annotated[
        list[Path] | None, typer.Option("--in", metavar="PATH", help="Look there too: an export, a backup.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask back.")] = False,
    actor: Actor = None,
    as_json: JsonFlag = False,
) -> None:
    """Erase an account: destroy its keys, and prove that nothing of the person is left in plain words.

    What was sealed with them can be read by nobody from then on, in no backup either. The log stays, with
    `account.erased` on it; what comes later is sealed with a new key. Exit code 1: something was found.
    """
    from engage import bootstrap
    from engage.cli.door import must_exist
    from engage.services.privacy import texts_of

    settings = bootstrap.settings()
    must_exist(settings)
    if missing := [path for path in beside or () if not path.exists()]:
        raise CommandFailedError(f"--in {missing[0]}: there is nothing of that name", USAGE)
    texts = texts_of(asyncio.run(_held(settings, account)))
    done = None
    if not check:
        _ask(account, yes)
        done = asyncio.run(_erased(settings, account, who(actor)))
        if not as_json:
            later = (
                "" if done.gone_by is None else f"; what Kafka still holds as it came is gone by {moment(done.gone_by)}"
            )
            typer.echo(f"{account} is erased: its keys up to generation {done.generation} are gone{later}")
    found = asyncio.run(_found(settings, texts, beside or []))
    if as_json:
        emit({"account": account, "erased": done, "texts": len(texts), "found": found})
    elif found:
        for one in found:
            typer.echo(f"{one.place} holds personal text {one.text + 1} of {len(texts)} in plain words")
    elif not texts:
        typer.echo("no personal text of it can be read any more, or ever could: there is nothing to look for")
    else:
        typer.echo(f"none of {len(texts)} personal texts stands anywhere in plain words")
    if found:
        raise typer.Exit(FAILED)


def _ask(account: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandFailedError("this cannot be undone, and there is nobody to ask: say --yes", USAGE)
    if not typer.confirm(f"Erase {account}? This cannot be undone.", err=True):
        raise CommandFailedError("nothing was erased")


async def _held(settings: Settings, account: str) -> PersonalCopy:
    from engage import bootstrap
    from engage.services.known_accounts import NoSuchAccountError
    from engage.services.privacy import held_on

    with closing(bootstrap.key_store(settings)) as keys:
        async with bootstrap.readers(settings) as (log, store, _):
            try:
                return await held_on(log, keys, bootstrap.read_models(settings), account, datetime.now(UTC), store)
            except NoSuchAccountError as error:
                raise CommandFailedError(str(error), NOT_FOUND) from error


async def _erased(settings: Settings, account: str, actor: str) -> Erased:
    import msgspec

    from engage.cli.door import open_door
    from engage.client import Client
    from engage.services.privacy import Erased
    from engage.services.privacy import erase as forget

    async with open_door(settings, actor) as door:
        if isinstance(door, Client):
            return msgspec.convert(await asyncio.to_thread(door.erase, account), Erased)
        with door.trail.of(actor, "erase", account):
            done = await forget(door, account, actor)
        if door.embedded is not None:
            await door.settle()
        return done


async def _found(settings: Settings, texts: list[str], beside: list[Path]) -> list[Found]:
    from engage import bootstrap
    from engage.services import plaintext
    from engage.store.database import Database

    silent_until = time.monotonic() + _PATIENCE

    def told(place: str) -> None:
        if time.monotonic() > silent_until:
            say(f"looking into {place}")

    found = await asyncio.to_thread(plaintext.in_files, [settings.home_path, *beside], texts, told)
    if settings.views:
        with closing(Database(settings.views, synchronous="normal")) as database:
            found += await asyncio.to_thread(plaintext.in_tables, database, texts, told)
    if settings.kafka:
        async with bootstrap.reading_log(settings) as log:
            names = bootstrap.topics(settings).all
            found += await plaintext.in_topics(settings.kafka, names, log.partitions, texts, told)
    return found
