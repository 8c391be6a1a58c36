"""``engage projections rebuild`` and ``rollback``: read models folded anew, and put back."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from engage.cli.output import INTERRUPTED, NOT_FOUND, Actor, CommandFailedError, JsonFlag, emit, who
from engage.cli.read_models import Name, Sample, named

if TYPE_CHECKING:
    from engage.services.projector import Rebuilt
    from engage.settings import Settings
    from engage.views.projection import ReadModel

T = TypeVar("T")


def rebuild(
    name: Name,
    account: Annotated[
        str | None, typer.Option("--account", metavar="ID", help="Fold the rows of this account anew, in place.")
    ] = None,
    sample: Sample = None,
    actor: Actor = None,
    as_json: JsonFlag = False,
) -> None:
    """Fold one anew beside what readers see, its family with it, prove it and swap. Ctrl-C pauses."""
    from engage import bootstrap
    from engage.cli.door import must_exist
    from engage.cli.log_lines import log_to_stderr

    settings = bootstrap.settings()
    must_exist(settings)
    model = named(settings, name)
    log_to_stderr(settings, least="warning")
    if account is not None:
        _rebuild_account(settings, model, account, who(actor), as_json)
        return
    done = _alone(_rebuilt(settings, model, sample, who(actor)), f"{name}/rebuild")
    if as_json:
        emit({"name": name, "records": done.records, "swapped": done.swapped, "differing": done.differing})
    elif done.swapped:
        typer.echo(f"{name}: {done.records:,} records folded, {done.differing:,} rows differ from those before")
    if not done.swapped:
        raise CommandFailedError("paused; the same command goes on from there", INTERRUPTED)


def rollback(name: Name, actor: Actor = None, as_json: JsonFlag = False) -> None:
    """Let what was live before the last rebuild be live again, its family with it."""
    from engage import bootstrap
    from engage.cli.door import must_exist
    from engage.cli.log_lines import log_to_stderr

    settings = bootstrap.settings()
    must_exist(settings)
    model = named(settings, name)
    log_to_stderr(settings, least="warning")

    async def run() -> int:
        async with bootstrap.platform(settings) as platform:
            with platform.trail.of(who(actor), "projections rollback", name):
                return await platform.projector.roll_back(model)

    try:
        differing = _alone(run(), f"{name}/rollback")
    except LookupError as error:
        raise CommandFailedError(str(error), NOT_FOUND) from error
    if as_json:
        emit({"name": name, "differing": differing})
    else:
        typer.echo(f"{name}: rolled back, {differing:,} rows differ from those before")


def _alone(work: Coroutine[Any, Any, T], route: str) -> T:
    """Do what nobody may do beside the process that owns the folder, or say how that one is asked for it."""
    from engage.services.owner import FolderOwnedError

    try:
        return asyncio.run(work)
    except FolderOwnedError as error:
        if error.owner is None or error.owner.url is None:
            raise
        raise CommandFailedError(f"{error}, or ask it: POST {error.owner.url}/v1/projections/{route}") from error


def _rebuild_account(settings: Settings, model: ReadModel[Any], account: str, actor: str, as_json: bool) -> None:
    from engage import bootstrap
    from engage.services.known_accounts import must_be_known
    from engage.views.aggregate import Aggregate

    if isinstance(model, Aggregate) and model.of is None:
        raise CommandFailedError(f"{model.name!r} adds up what all accounts did: leave --account out")

    async def run() -> int:
        async with bootstrap.platform(settings) as platform:
            with platform.trail.of(actor, f"projections rebuild {model.name} --account", account):
                made = await platform.projector.rebuild_account(model, account)
                if not made:
                    await must_be_known(platform.log, account)
                return made

    rows = _alone(run(), f"{model.name}/rebuild")
    if as_json:
        emit({"name": model.name, "account": account, "rows": rows})
    else:
        typer.echo(f"{model.name}: {rows:,} rows of {account} folded anew")


async def _rebuilt(settings: Settings, model: ReadModel[Any], sample: int | None, actor: str) -> Rebuilt:
    from engage import bootstrap
    from engage.cli.progress import Progress
    from engage.cli.running import on_signals

    stop = asyncio.Event()
    async with bootstrap.platform(settings) as platform:
        with Progress(model.name) as bar, on_signals(stop.set):

            def proving(done: int, total: int, rate: float) -> None:
                bar.stage(f"{model.name}, proving")
                bar.records(done, total, rate)

            with platform.trail.of(actor, "projections rebuild", model.name) as course:
                rebuilt = await platform.projector.rebuild(
                    model, bar.records, proving=proving, sample=sample, stop=stop
                )
                course.outcome = "done" if rebuilt.swapped else "interrupted"
                return rebuilt
