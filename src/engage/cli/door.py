"""The way in for events and commands: the log itself when its folder is free, else the process that owns it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from engage import bootstrap
from engage.cli.output import NOT_FOUND, USAGE, CommandFailedError, say, who

if TYPE_CHECKING:
    from msgspec import Raw

    from engage.client import Client
    from engage.events.envelope import Event
    from engage.log.contract import Answer
    from engage.services.platform import Platform
    from engage.settings import Settings

    Publish = Callable[[Sequence[bytes | Event[Raw]]], Awaitable[list[Answer]]]

_PATIENCE = 5.0
"""Seconds: the owner runs on this machine, and answers or is gone."""


@asynccontextmanager
async def open_door(settings: Settings, actor: str | None = None) -> AsyncIterator[Platform | Client]:
    """The platform, or a client of the process that owns its folder; FolderOwnedError if that one serves nobody.

    ``actor`` is who gives the command, as that process is told; None for whoever is logged in on this machine.
    """
    from engage.cli.log_lines import log_to_stderr
    from engage.services.owner import FolderOwnedError, door_secret

    log_to_stderr(settings)
    async with AsyncExitStack() as stack:
        try:
            platform = await stack.enter_async_context(bootstrap.platform(settings))
        except FolderOwnedError as error:
            if error.owner is None or error.owner.url is None:
                raise
            from engage.client import Client

            say(f"going through process {error.owner.pid}, which serves at {error.owner.url}")
            secret = door_secret(settings.home_path)
            yield stack.enter_context(Client(error.owner.url, key=secret, actor=who(actor), patience=_PATIENCE))
            return
        yield platform


def publisher(door: Platform | Client) -> Publish:
    """How to publish through this door."""
    from engage.services.platform import Platform

    if isinstance(door, Platform):
        return door.publish

    async def through_owner(events: Sequence[bytes | Event[Raw]]) -> list[Answer]:
        from engage.events.codec import encode

        sent = [event if isinstance(event, bytes) else encode(event) for event in events]
        return await asyncio.to_thread(door.publish, sent)

    return through_owner


def must_exist(settings: Settings) -> None:
    """CommandFailedError where nothing was ever kept: there is nothing to read."""
    if settings.home_path.exists() and not settings.home_path.is_dir():
        raise CommandFailedError(f"ENGAGE_HOME is {settings.home_path}, which is a file: name a folder", USAGE)
    if not settings.kafka and not bootstrap.log_path(settings).exists():
        raise CommandFailedError(
            f"there is no log in {settings.home_path} yet: `engage demo` loads one to look at, `engage up` begins one",
            NOT_FOUND,
        )
    if not settings.kafka and not settings.views and not (settings.home_path / "relationships.db").exists():
        # Whoever opens it makes it; only the platform, which then restores it from the log, may do so.
        raise CommandFailedError(
            f"relationships.db is missing from {settings.home_path}: `engage up` brings it back from the log", NOT_FOUND
        )
