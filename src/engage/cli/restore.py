"""``engage restore``: an exported house brought back, here or into the other backend, with progress and proof."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engage.cli.output import FAILED, INTERRUPTED, Actor, CommandFailedError, JsonFlag, emit, say, who

if TYPE_CHECKING:
    from engage.services.moving.restoring import Restored
    from engage.settings import Settings


def restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the export.")],
    partitions: Annotated[
        int | None,
        typer.Option(
            "--partitions", metavar="N", min=1, max=1024, help="Of the embedded log; as many as before, if left out."
        ),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Prove every read model against the log at the end.")
    ] = True,
    actor: Actor = None,
    as_json: JsonFlag = False,
) -> None:
    """Bring an export back into an empty house: that of ENGAGE_HOME, ENGAGE_LOG and ENGAGE_VIEWS as they are set.

    The house may have the other backend, and its log another number of partitions. Nothing else may work there
    meanwhile. It may be interrupted: the same command goes on. Exit code 1: a read model is not the fold of the log.
    """
    from engage import bootstrap

    settings = bootstrap.settings()
    try:
        restored = asyncio.run(_restored(settings, folder, partitions, verify))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise CommandFailedError(
            f"interrupted: nobody can work in {settings.home_path} before `engage restore {folder}` was done again, "
            "which goes on from there",
            INTERRUPTED,
        ) from None
    with bootstrap.trail(settings) as trail:
        trail.keep(who(actor), "restore", restored.export, "done")
    wrong = {name: found for name, found in restored.differences.items() if found is not None}
    if as_json:
        emit(restored)
    else:
        typer.echo(_words(restored))
    for note in restored.notes:
        say(note)
    for name in wrong:
        typer.echo(f"{name} is not the fold of the log: `engage projections verify {name}` says where")
    if wrong:
        raise typer.Exit(FAILED)


def _words(restored: Restored) -> str:
    added = f" and {restored.added:,} ticks" if restored.added else ""
    proved = sum(found is None for found in restored.differences.values())
    verified = (
        f"; {proved} of {len(restored.differences)} read models are the fold of the log" if restored.differences else ""
    )
    return f"{restored.records:,} records{added} in {restored.partitions} partitions{verified}"


async def _restored(settings: Settings, folder: Path, partitions: int | None, verify: bool) -> Restored:
    from engage import bootstrap
    from engage.cli.progress import Progress
    from engage.services.moving.manifest import read_manifest
    from engage.services.moving.restoring import Restorer
    from engage.services.platform import utc_now

    manifest = read_manifest(folder)
    async with bootstrap.site(settings, folder, partitions) as site:
        with Progress("restoring", patience=1.0) as bar:

            def tell(what: str, done: int, total: int, rate: float) -> None:
                bar.stage(what)
                bar.records(done, total, rate)

            return await Restorer(site, folder, manifest, utc_now).run(tell, verify=verify)
