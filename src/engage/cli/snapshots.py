"""``engage snapshots``: read models of the past that are kept, so that asking for whole ones folds little."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engage.cli import completing
from engage.cli.output import JsonFlag, data, emit, moment, say, table
from engage.cli.read_models import named

if TYPE_CHECKING:
    from engage.services.snapshots import Snapshot
    from engage.settings import Settings
    from engage.views.projection import ReadModel

app = typer.Typer(help="Keep read models of the past, so that whole ones as of a moment are there at once.")
Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME",
        help="The read models; all of them where none is named.",
        autocompletion=completing.read_models,
    ),
]


@app.command()
def make(names: Names = None, as_json: JsonFlag = False) -> None:
    """Fold the log into snapshots, up to now: `engage snapshots make account_health`.

    One is left every 50,000 records; an as-of read begins at the one before its moment. What is there already is gone
    on from. `engage as-of` and `as_of=` over HTTP leave some by themselves. They keep within ENGAGE_SNAPSHOT_MB: those
    that were not used for the longest time go first.
    """
    from engage import bootstrap
    from engage.cli.door import must_exist

    settings = bootstrap.settings()
    must_exist(settings)
    made = asyncio.run(_make(settings, [model for model in _models(settings, names) if not model.append_only]))
    if as_json:
        emit(made)
    else:
        for one in made:
            say(f"{one.model}: a snapshot of {one.records:,} records, {one.bytes / 2**20:.1f} MiB")


@app.command("list")
def show(as_json: JsonFlag = False) -> None:
    """List what is kept, with its size: `engage snapshots list`."""
    from engage import bootstrap

    found = bootstrap.snapshots(bootstrap.settings()).all()
    if as_json:
        emit(found)
        return
    if not found:
        say("there are no snapshots: `engage snapshots make` makes some, as-of reads leave some by themselves")
        return
    rows = [
        (one.model, f"{one.records:,}", moment(one.moment or one.made), f"{one.bytes / 2**20:.1f}") for one in found
    ]
    for line in table(("read model", "records", "as of", "MiB"), rows, right=(1, 3)):
        data().print(line, soft_wrap=True)


@app.command()
def drop(names: Names = None, as_json: JsonFlag = False) -> None:
    """Drop them; what they spared is folded again when it is asked for: `engage snapshots drop account_health`."""
    from engage import bootstrap

    settings = bootstrap.settings()
    models = _models(settings, names) if names else None
    dropped = bootstrap.snapshots(settings).drop(None if models is None else {model.name for model in models})
    if as_json:
        emit({"dropped": dropped})
    else:
        say(f"{dropped} dropped")


def _models(settings: Settings, names: list[str] | None) -> list[ReadModel[Any]]:
    from engage import bootstrap

    return [named(settings, name) for name in names or ()] or list(bootstrap.read_models(settings))


async def _make(settings: Settings, models: list[ReadModel[Any]]) -> list[Snapshot]:
    from engage import bootstrap
    from engage.cli.progress import Progress
    from engage.services.whole_as_of import fold_whole

    snapshots, made = bootstrap.snapshots(settings), []
    async with bootstrap.reading_log(settings) as log:
        ends = {one: await log.end(one) for one in range(log.partitions)}
        for model in models:
            with Progress(f"folding {model.name}") as bar:
                made.append(
                    await fold_whole(
                        log, model, ends, None, snapshots, progress=lambda done, of: bar.to(done, total=of)
                    )
                )
    return made
