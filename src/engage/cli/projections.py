"""``engage projections``: how the read models stand, and whether they are the fold of the log; all its commands."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engage.cli import completing, rebuild, view_settings
from engage.cli.output import (
    FAILED,
    INTERRUPTED,
    NOT_FOUND,
    CommandFailedError,
    JsonFlag,
    data,
    emit,
    table,
)
from engage.cli.read_models import Sample, named

if TYPE_CHECKING:
    from engage.services.projection_status import ProjectionStatus

app = typer.Typer(no_args_is_help=True, help="The read models: how they stand, prove them, fold them anew.")


@app.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """Each read model: version, lag, rows, what stands still, what is built beside, what is kept, who paused it."""
    from engage import bootstrap
    from engage.cli.door import must_exist
    from engage.services.projection_status import read_projections

    settings = bootstrap.settings()
    must_exist(settings)

    async def run() -> list[ProjectionStatus]:
        async with bootstrap.readers(settings) as (log, store, _):
            return await read_projections(log, store, bootstrap.read_models(settings))

    found = asyncio.run(run())
    if as_json:
        emit({"projections": found})
        return
    header = ("read model", "version", "behind", "rows", "parked", "beside", "previous", "")
    rows = [
        (
            one.name,
            str(one.version or "none"),
            f"{one.behind:,}",
            f"{one.rows:,}",
            f"{one.parked:,}",
            "" if one.beside is None else f"{one.beside.position:,} of {one.beside.of:,}",
            "kept" if one.previous else "",
            str(one.paused or ""),
        )
        for one in found
    ]
    out = data()
    for line in table(header, rows, right=(1, 2, 3, 4, 5)):
        out.print(line, soft_wrap=True)


@app.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Only these; all, if left out.", autocompletion=completing.read_models),
    ] = None,
    sample: Sample = None,
    as_json: JsonFlag = False,
) -> None:
    """Fold the log in memory and compare with the rows; exit code 1 where some differ. It changes nothing."""
    from engage import bootstrap
    from engage.cli.door import must_exist
    from engage.cli.progress import Progress
    from engage.services.verifying import Verifier
    from engage.store.beginning import is_of

    settings = bootstrap.settings()
    must_exist(settings)
    models = [named(settings, name) for name in dict.fromkeys(names or ())] or bootstrap.read_models(settings)

    async def run() -> list[dict[str, Any]]:
        found = []
        async with bootstrap.readers(settings) as (log, store, _):
            for model in models:
                stored = store.standing().models.get(model.name) if store else None
                if store is None or stored is None:
                    raise CommandFailedError(f"there is no view {model.name!r} yet: `engage up` folds it", NOT_FOUND)
                if not is_of(stored, store.table(model)):
                    raise CommandFailedError(
                        f"{model.name!r} is here in another version than this engage folds: `engage projections list` "
                        "shows how far the new one is"
                    )
                with Progress(model.name, patience=1.0) as bar:
                    difference = await Verifier(log, store).verify(model, sample=sample, progress=bar.records)
                found.append({"name": model.name, "difference": difference})
        return found

    try:
        found = asyncio.run(run())
    except KeyboardInterrupt:
        raise CommandFailedError("interrupted; nothing was changed", INTERRUPTED) from None
    if as_json:
        emit({"projections": found})
    else:
        for one in found:
            typer.echo(f"{one['name']}: {_words(one['difference'])}")
    if any(one["difference"] is not None for one in found):
        raise typer.Exit(FAILED)


def _words(difference: Any) -> str:
    if difference is None:
        return "its rows are the fold of the log"
    if difference.column is None:
        missing = difference.stored is None
        return f"row {difference.key} is {'missing' if missing else 'too many'}"
    return (
        f"row {difference.key}, column {difference.column}: stored {difference.stored!r}, folded {difference.folded!r}"
    )


app.command()(rebuild.rebuild)
app.command()(rebuild.rollback)
app.command()(view_settings.pause)
app.command()(view_settings.resume)
app.command()(view_settings.grant)
app.command()(view_settings.revoke)
