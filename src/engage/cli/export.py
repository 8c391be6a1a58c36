"""``engage export``: the whole house written into a folder while it runs, and proved to be what was written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engage.cli.output import FAILED, USAGE, Actor, CommandFailedError, JsonFlag, emit, moment, say, who

if TYPE_CHECKING:
    from engage.services.moving.manifest import ExportedView, Manifest
    from engage.settings import Settings

_EACH = 3
"""So many read models that are left out are each told of."""
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the export.", file_okay=False)]


def export(
    folder: Folder,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing: prove that the export in DIR is what was written.")
    ] = False,
    parquet: Annotated[
        bool,
        typer.Option("--parquet/--no-parquet", help="Read models as Parquet too; needs the extra `parquet`."),
    ] = True,
    master_key: Annotated[
        bool, typer.Option("--master-key", help="Put the master key in too: who has DIR then can read everything.")
    ] = False,
    actor: Actor = None,
    as_json: JsonFlag = False,
) -> None:
    """Write log, read models and whatever else is kept into a folder, beside running processes.

    `engage restore DIR` brings it back, also into the other backend or a wider log. It may be interrupted: the same
    command goes on. manifest.json is written last, so a folder without it holds no whole export.
    """
    from engage import bootstrap
    from engage.cli.door import must_exist
    from engage.services.moving.manifest import NAME, read_manifest

    if check:
        faults = _proved(folder, as_json)
        if faults:
            raise typer.Exit(FAILED)
        return
    settings = bootstrap.settings()
    must_exist(settings)
    if folder.absolute().is_relative_to(settings.home_path):
        raise CommandFailedError(
            f"{folder} lies in ENGAGE_HOME, which it is to be a copy of: name a folder elsewhere", USAGE
        )
    with bootstrap.trail(settings) as trail, trail.of(who(actor), "export", str(folder)):
        manifest = asyncio.run(_exported(settings, folder, parquet, master_key))
    if as_json:
        emit(read_manifest(folder))
    else:
        typer.echo(_words(manifest, folder))
    if not master_key:
        say(
            f"the master key is not in it, and without it nothing personal can be read again: copy "
            f"{settings.home_path / 'master.key'} into the new ENGAGE_HOME yourself, or keep it apart"
        )
    for line in _left_out(manifest.views):
        say(line)
    say(f"`engage export --check {folder}` proves {NAME} against the files")


def _words(manifest: Manifest, folder: Path) -> str:
    rows, views = sum(view.rows for view in manifest.views), sum(not view.left_out for view in manifest.views)
    return (
        f"{folder}: {manifest.records:,} records of {manifest.partitions} partitions, {rows:,} rows of {views} read "
        f"models"
    )


def _left_out(views: Sequence[ExportedView]) -> list[str]:
    """Which read models came along without their rows, and why: a line each, or one where they are many."""
    without = [view for view in views if view.left_out]
    if len(without) <= _EACH:
        return [f"without rows of {view.name}: {view.left_out}" for view in without]
    names = ", ".join(view.name for view in without[:_EACH])
    return [f"without rows of {len(without)} read models ({names}, …): {without[0].left_out}"]


async def _exported(settings: Settings, folder: Path, parquet: bool, master_key: bool) -> Manifest:
    from engage import bootstrap
    from engage.cli.progress import Progress
    from engage.services.moving.exporting import Exporter
    from engage.services.platform import utc_now

    async with bootstrap.house(settings) as house:
        with Progress("exporting", patience=1.0) as bar:

            def tell(what: str, done: int, total: int, rate: float) -> None:
                bar.stage(what)
                if total:
                    bar.records(done, total, rate)
                else:
                    bar.to(0, f"{done:,} rows")

            exporter = Exporter(house, folder, parquet=parquet, master_key=master_key, clock=utc_now)
            return await exporter.run(tell)


def _proved(folder: Path, as_json: bool) -> list[dict[str, str]]:
    from engage.cli.progress import Progress
    from engage.services.moving.manifest import prove, read_manifest

    manifest = read_manifest(folder)
    faults, done = [], 0
    with Progress("checking", manifest.bytes, patience=1.0) as bar:
        for path, size, fault in prove(folder, manifest):
            done += size
            bar.to(done)
            if fault:
                faults.append({"file": path, "fault": fault})
    if as_json:
        emit({"folder": str(folder), "files": len(manifest.files), "records": manifest.records, "faults": faults})
        return faults
    for one in faults:
        typer.echo(f"{one['file']}: {one['fault']}")
    if not faults:
        typer.echo(f"{folder}: {manifest.records:,} records in {len(manifest.files)} files, all as they were written")
    say(f"exported {moment(manifest.began)} (UTC) by engage {manifest.engage} from {manifest.log}")
    return faults
