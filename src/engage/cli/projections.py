"""``engage projections``: how the read models stand, whether they are the fold of the log, and folding them anew."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from getpass import getuser
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engage.cli.output import (
    FAILED,
    INTERRUPTED,
    NOT_FOUND,
    Actor,
    CommandFailedError,
    JsonFlag,
    data,
    emit,
    say,
    span,
    table,
)

if TYPE_CHECKING:
    from engage.log.contract import Log
    from engage.services.pausing import Pausing
    from engage.services.projector import Rebuilt
    from engage.settings import Settings
    from engage.store.views import ViewStore
    from engage.views.projection import ReadModel

app = typer.Typer(no_args_is_help=True, help="The read models: how they stand, prove them, fold them anew.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The read model, as `list` names it.")]
Sample = Annotated[
    int | None, typer.Option("--sample", metavar="N", min=1, help="Prove about so many rows of a table, not all.")
]


@app.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """Each read model: version, lag, rows, what stands still, what is built beside, what is kept, who paused it."""
    from engage import bootstrap
    from engage.cli.door import must_exist

    settings = bootstrap.settings()
    must_exist(settings)

    async def run() -> list[dict[str, Any]]:
        async with bootstrap.readers(settings) as (log, store, _):
            return await _listed(log, store, bootstrap.read_models(settings))

    found = asyncio.run(run())
    if as_json:
        emit({"projections": found})
        return
    header = ("read model", "version", "behind", "rows", "parked", "beside", "previous", "")
    rows = [
        (
            one["name"],
            str(one["version"] or "none"),
            f"{one['behind']:,}",
            f"{one['rows']:,}",
            f"{one['parked']:,}",
            "" if one["beside"] is None else f"{one['beside']['position']:,} of {one['beside']['of']:,}",
            "kept" if one["previous"] else "",
            str(one["paused"] or ""),
        )
        for one in found
    ]
    out = data()
    for line in table(header, rows, right=(1, 2, 3, 4, 5)):
        out.print(line, soft_wrap=True)


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Only this one; all, if left out.")] = None,
    sample: Sample = None,
    as_json: JsonFlag = False,
) -> None:
    """Fold the log in memory and compare with the rows; exit code 1 where they differ. It changes nothing."""
    from engage import bootstrap
    from engage.cli.door import must_exist
    from engage.services.verifying import Verifier
    from engage.store.beginning import is_of

    settings = bootstrap.settings()
    must_exist(settings)

    async def run() -> list[dict[str, Any]]:
        found = []
        async with bootstrap.readers(settings) as (log, store, _):
            for model in [_named(settings, name)] if name else bootstrap.read_models(settings):
                stored = store.standing().models.get(model.name) if store else None
                if store is None or stored is None:
                    raise CommandFailedError(f"there is no view {model.name!r} yet: `engage up` folds it", NOT_FOUND)
                if not is_of(stored, store.table(model)):
                    raise CommandFailedError(
                        f"{model.name!r} is here in another version than this engage folds: `engage projections list` "
                        "shows how far the new one is"
                    )
                say(f"{model.name}: folding the log")
                difference = await Verifier(log, store).verify(model, sample=sample)
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


@app.command()
def rebuild(
    name: Name,
    account: Annotated[
        str | None, typer.Option("--account", metavar="ID", help="Fold the rows of this account anew, in place.")
    ] = None,
    sample: Sample = None,
    as_json: JsonFlag = False,
) -> None:
    """Fold one anew beside what readers see, its family with it, prove it and swap. Ctrl-C pauses."""
    from engage import bootstrap
    from engage.cli.door import must_exist
    from engage.cli.log_lines import log_to_stderr

    settings = bootstrap.settings()
    must_exist(settings)
    model = _named(settings, name)
    log_to_stderr(settings)
    if account is not None:
        _rebuild_account(settings, model, account, as_json)
        return
    done = asyncio.run(_rebuilt(settings, model, sample))
    if as_json:
        emit({"name": name, "records": done.records, "swapped": done.swapped, "differing": done.differing})
    elif done.swapped:
        typer.echo(f"{name}: {done.records:,} records folded, {done.differing:,} rows differ from those before")
    if not done.swapped:
        raise CommandFailedError("paused; the same command goes on from there", INTERRUPTED)


@app.command()
def rollback(name: Name, as_json: JsonFlag = False) -> None:
    """Let what was live before the last rebuild be live again, its family with it."""
    from engage import bootstrap
    from engage.cli.door import must_exist
    from engage.cli.log_lines import log_to_stderr

    settings = bootstrap.settings()
    must_exist(settings)
    model = _named(settings, name)
    log_to_stderr(settings)

    async def run() -> int:
        async with bootstrap.platform(settings) as platform:
            return await platform.projector.roll_back(model)

    try:
        differing = asyncio.run(run())
    except LookupError as error:
        raise CommandFailedError(str(error), NOT_FOUND) from error
    if as_json:
        emit({"name": name, "differing": differing})
    else:
        typer.echo(f"{name}: rolled back, {differing:,} rows differ from those before")


@app.command()
def pause(name: Name, actor: Actor = None, as_json: JsonFlag = False) -> None:
    """Let one stand still, its family with it, in every process and across restarts; readers read it as it stands."""
    from engage.services import pausing
    from engage.services.platform import utc_now

    by = actor or getuser()
    done = _with_views(name, lambda store, models, model: pausing.pause(store, models, model, by=by, at=utc_now()))
    if as_json:
        emit({"names": done.names, "paused": done.paused, "changed": done.changed})
    else:
        typer.echo(f"{', '.join(done.names)}: {'' if done.changed else 'already '}{done.paused}")


@app.command()
def resume(name: Name, as_json: JsonFlag = False) -> None:
    """Let one that is paused go on from where it stands, its family with it."""
    from engage.services import pausing

    done = _with_views(name, pausing.resume)
    if as_json:
        emit({"names": done.names, "changed": done.changed})
    else:
        typer.echo(f"{', '.join(done.names)}: {f'goes on, was {done.paused}' if done.changed else 'was not paused'}")


def _with_views(name: str, do: Callable[[ViewStore, tuple[ReadModel[Any], ...], ReadModel[Any]], Pausing]) -> Pausing:
    """What is done in the database of the read models itself, beside whoever projects: they look there at each turn."""
    from engage import bootstrap
    from engage.cli.door import must_exist

    settings = bootstrap.settings()
    must_exist(settings)
    model = _named(settings, name)
    with closing(bootstrap.view_store(settings)) as store:
        return do(store, bootstrap.read_models(settings), model)


def _rebuild_account(settings: Settings, model: ReadModel[Any], account: str, as_json: bool) -> None:
    from engage import bootstrap
    from engage.views.aggregate import Aggregate

    if isinstance(model, Aggregate) and model.of is None:
        raise CommandFailedError(f"{model.name!r} adds up what all accounts did: leave --account out")

    async def run() -> int:
        async with bootstrap.platform(settings) as platform:
            return await platform.projector.rebuild_account(model, account)

    rows = asyncio.run(run())
    if as_json:
        emit({"name": model.name, "account": account, "rows": rows})
    else:
        typer.echo(f"{model.name}: {rows:,} rows of {account} folded anew")


async def _rebuilt(settings: Settings, model: ReadModel[Any], sample: int | None) -> Rebuilt:
    from engage import bootstrap
    from engage.cli.progress import Progress
    from engage.cli.running import on_signals

    stop = asyncio.Event()
    async with bootstrap.platform(settings) as platform:
        with Progress(model.name) as bar, on_signals(stop.set):

            def told(done: int, total: int, rate: float) -> None:
                left = "" if sys.stderr.isatty() else f", {span(timedelta(seconds=(total - done) / max(rate, 1)))} left"
                bar.to(done, f"{rate:,.0f} records/s{left}", total=total)

            return await platform.projector.rebuild(model, told, sample=sample, stop=stop)


async def _listed(log: Log, store: ViewStore | None, models: tuple[ReadModel[Any], ...]) -> list[dict[str, Any]]:
    from engage.store.families import slotted
    from engage.store.reader import Standing

    ends = [await log.end(partition) for partition in range(log.partitions)]
    standing = store.standing() if store else Standing({})
    found = []
    for model in models:
        stored, at = standing.models.get(model.name), standing.at(model)
        positions = [at.get(partition, 0) for partition in range(len(ends))]
        ahead = standing.at(model, "next")
        there = store is not None and stored is not None
        found.append(
            {
                "name": model.name,
                "version": stored.version if stored else None,
                "positions": positions,
                "behind": sum(max(0, end - position) for end, position in zip(ends, positions, strict=True)),
                "rows": store.count(model) if store is not None and there else 0,
                "parked": len(store.parked(model)) if store is not None else 0,
                "beside": {"position": sum(ahead.values()), "of": sum(positions)} if ahead else None,
                "previous": slotted(model.name, "previous") in standing.models,
                "paused": standing.paused.get(model.name),
            }
        )
    return found


def _named(settings: Settings, name: str) -> ReadModel[Any]:
    from engage import bootstrap

    models = {model.name: model for model in bootstrap.read_models(settings)}
    if name not in models:
        raise CommandFailedError(f"there is no read model {name!r}: {', '.join(models)}", NOT_FOUND)
    return models[name]


def _words(difference: Any) -> str:
    if difference is None:
        return "its rows are the fold of the log"
    if difference.column is None:
        missing = difference.stored is None
        return f"row {difference.key} is {'missing' if missing else 'too many'}"
    return (
        f"row {difference.key}, column {difference.column}: stored {difference.stored!r}, folded {difference.folded!r}"
    )
