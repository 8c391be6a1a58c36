"""``engage link`` and ``engage unlink``: a visitor turned out to be an account, or did not after all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from engage.cli.output import FAILED, NOT_FOUND, Actor, CommandFailedError, JsonFlag, emit, who

if TYPE_CHECKING:
    from engage.services.linking import Linked, Unlinked
    from engage.settings import Settings

Visitor = Annotated[str, typer.Argument(metavar="VISITOR", help="The id under which it was known: anonymous:7f3c.")]


def link(
    visitor: Visitor,
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account that it turned out to be.")],
    actor: Actor = None,
    as_json: JsonFlag = False,
) -> None:
    """Link a visitor to the account that it turned out to be.

    What is known of it goes there, sealed with that account's key, and what is published of it later too. Its timers
    end, and nothing that was decided on it is decided again. Linked already, nothing is done. On Kafka intake has the
    last say: exit code 1 with the reason where it refuses, or where it does not answer in time.
    """
    done: Linked = asyncio.run(_linked(_settings(), visitor, account, who(actor)))
    if as_json:
        emit({"linked": done})
    _must_be_answered(done)
    if as_json:
        return
    further = "" if done.holder == account else f", which is linked to {done.holder}"
    typer.echo(f"{visitor} {'is' if done.changed else 'was already'} linked to {account}{further}")


def unlink(visitor: Visitor, actor: Actor = None, as_json: JsonFlag = False) -> None:
    """Take back that a visitor is linked: what is known of it comes back, and the account keeps what is its own."""
    done: Unlinked = asyncio.run(_unlinked(_settings(), visitor, who(actor)))
    if as_json:
        emit({"unlinked": done})
    _must_be_answered(done)
    if not as_json:
        typer.echo(f"{visitor} is no more linked to {done.account}")


def _must_be_answered(done: Linked | Unlinked) -> None:
    if done.pending:
        raise CommandFailedError(
            f"it is asked for and not answered yet, so it may still be refused: `engage views identities "
            f"visitor={done.visitor}` shows whom it is linked to, `engage dead-letters list --where "
            f"account={done.visitor}` what was refused; see that intake and `engage worker projections` run"
        )


def _settings() -> Settings:
    from engage import bootstrap
    from engage.cli.door import must_exist

    settings = bootstrap.settings()
    must_exist(settings)
    return settings


async def _linked(settings: Settings, visitor: str, account: str, actor: str) -> Linked:
    import msgspec

    from engage.cli.door import open_door
    from engage.client import Client
    from engage.services.known_accounts import NoSuchAccountError
    from engage.services.linking import Linked, LinkingError, link

    async with open_door(settings, actor) as door:
        if isinstance(door, Client):
            return msgspec.convert(await asyncio.to_thread(door.link, visitor, account), Linked)
        with door.trail.of(actor, "link", visitor):
            try:
                done = await link(door, visitor, account, actor)
            except NoSuchAccountError as error:
                raise CommandFailedError(str(error), NOT_FOUND) from error
            except LinkingError as error:
                raise CommandFailedError(str(error), FAILED) from error
        if door.embedded is not None:
            await door.settle()
        return done


async def _unlinked(settings: Settings, visitor: str, actor: str) -> Unlinked:
    import msgspec

    from engage.cli.door import open_door
    from engage.client import Client
    from engage.services.linking import LinkingError, NotLinkedError, Unlinked, unlink

    async with open_door(settings, actor) as door:
        if isinstance(door, Client):
            return msgspec.convert(await asyncio.to_thread(door.unlink, visitor), Unlinked)
        with door.trail.of(actor, "unlink", visitor):
            try:
                done = await unlink(door, visitor, actor)
            except NotLinkedError as error:
                raise CommandFailedError(str(error), NOT_FOUND) from error
            except LinkingError as error:
                raise CommandFailedError(str(error), FAILED) from error
        if door.embedded is not None:
            await door.settle()
        return done
