"""``engage sealing-keys``: the keys that seal what is personal, and the master key that wraps them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from engage.cli.output import NOT_FOUND, USAGE, Actor, CommandFailedError, JsonFlag, data, emit, say, table, who

if TYPE_CHECKING:
    from engage.settings import Settings
    from engage.store.keys import KeyStore

app = typer.Typer(no_args_is_help=True, help="Keys that seal what is personal, and the master key that wraps them.")


@app.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """Every master key, and how many of the accounts' keys each wraps: never the keys themselves."""
    from engage.services.sealing_keys import masters

    with _keys() as (_, keys):
        found = masters(keys)
    if as_json:
        emit({"masters": found})
        return
    rows = [
        (
            str(one.generation),
            one.name or "not in the file",
            f"{one.keys:,}",
            "in force" if one.wraps_new else "rotation goes on" if one.keys else "to be let go" if one.name else "",
        )
        for one in found
    ]
    out = data()
    for line in table(("master key", "name", "keys", ""), rows, right=(0, 2)):
        out.print(line, soft_wrap=True)
    if sum(one.name is not None for one in found) > 1:
        say("a rotation was prepared or broken off: `engage sealing-keys rotate` goes on with it")


@app.command()
def show(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account's id.")], as_json: JsonFlag = False
) -> None:
    """An account's keys, also those that were destroyed when it was erased: never the keys themselves."""
    from engage.services.sealing_keys import keys_of

    with _keys() as (_, keys):
        found = keys_of(keys, account)
    if not found:
        raise CommandFailedError(f"{account} has no key: nothing personal of it was ever sealed", NOT_FOUND)
    if as_json:
        emit({"account": account, "keys": found})
        return
    rows = [
        (str(one.generation), f"master key {one.master}" if one.exists else "", "" if one.exists else "destroyed")
        for one in found
    ]
    out = data()
    for line in table(("key", "wrapped by", ""), rows, right=(0,)):
        out.print(line, soft_wrap=True)


@app.command()
def rotate(
    prepare: Annotated[
        bool,
        typer.Option(
            "--prepare", help="Only put the new master key into the file, to be copied to every machine of yours first."
        ),
    ] = False,
    end_links: Annotated[
        bool,
        typer.Option("--end-links", help="Links in mails that were sent until now shall lead nowhere any more."),
    ] = False,
    actor: Actor = None,
    as_json: JsonFlag = False,
) -> None:
    """Wrap every account's key anew, by a new master key, and let go of the old one.

    Works beside running processes, which read and publish meanwhile. Broken off anywhere, the same command goes on.
    Nothing on the log changes. Back up master.key and the keys afterwards, together: the old file opens old backups
    alone.
    """
    from engage import bootstrap
    from engage.cli.progress import Progress
    from engage.services import sealing_keys

    with ExitStack() as stack:
        settings, keys = stack.enter_context(_keys())
        if settings.views and not prepare and len(keys.masters.keys) == 1:
            raise CommandFailedError(
                "the keys are in a database that other machines may use, which must know the new master key first: "
                "begin with `engage sealing-keys rotate --prepare`",
                USAGE,
            )
        trail = stack.enter_context(bootstrap.trail(settings))
        command = "sealing-keys rotate --prepare" if prepare else "sealing-keys rotate"
        stack.enter_context(trail.of(who(actor), command, "master.key"))
        if prepare:
            made = sealing_keys.prepare(keys)
            if as_json:
                emit({"prepared": made})
            else:
                say(f"copy {keys.masters.path} to every machine where engage runs, then `engage sealing-keys rotate`")
                typer.echo(f"master key {made.generation} ({made.name}) is prepared and wraps nothing yet")
            return
        webhooks = None
        if bootstrap.has_webhooks(settings):
            webhooks = stack.enter_context(closing(bootstrap.webhook_store(settings)))
        progress = stack.enter_context(Progress("wrapping keys", patience=1.0))
        done = sealing_keys.rotate(
            keys, webhooks, keep_links=not end_links, told=lambda wrapped, of: progress.to(wrapped, total=of)
        )
    if as_json:
        emit({"rotated": done})
        return
    typer.echo(f"master key {done.generation} ({done.name}) wraps every key; {done.keys:,} were wrapped anew")
    say(f"back up {keys.masters.path} and the keys now, together; a backup from before needs the file from before")


@contextmanager
def _keys() -> Iterator[tuple[Settings, KeyStore]]:
    from engage import bootstrap

    settings = bootstrap.settings()
    if not settings.views and not (settings.home_path / "keys.db").exists():
        raise CommandFailedError(f"there are no keys in {settings.home_path} yet: nothing was ever sealed", NOT_FOUND)
    with closing(bootstrap.key_store(settings)) as keys:
        yield settings, keys
