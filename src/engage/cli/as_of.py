"""``engage as-of`` and ``engage replay``: read models folded from a part of the log, beside what readers see."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engage.cli import completing
from engage.cli.log import Types
from engage.cli.moments import back, between
from engage.cli.output import NOT_FOUND, USAGE, CommandFailedError, JsonFlag, emit, say
from engage.cli.read_models import Name, named
from engage.cli.rows import AsCsv, AsLines, Where, parameters, show_rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from datetime import datetime

    from sqlalchemy.exc import DatabaseError

    from engage.log.contract import Log
    from engage.services.views import Parameters, Views
    from engage.settings import Settings
    from engage.store.views import ViewStore
    from engage.views.projection import ReadModel

_PATIENCE = 1.0


def as_of(
    time: Annotated[str, typer.Argument(metavar="TIME", help="2026-03-01, 2026-03-01T09:00, or 4h, 3d, 2w ago.")],
    name: Name,
    where: Where = None,
    account: Annotated[str | None, typer.Option("--account", metavar="ID", help="Of this account alone.")] = None,
    as_csv: AsCsv = False,
    as_json: AsLines = False,
) -> None:
    """Show the rows of a read model as they stood at a moment: the fold of the log until then.

    With --account only that account's records are folded, which takes a moment; without, all of them, from the nearest
    snapshot on (`engage snapshots`). `engage account ID --as-of TIME` shows an account's page as it stood.
    """
    from engage import bootstrap
    from engage.cli.door import must_exist

    settings = bootstrap.settings()
    must_exist(settings)
    asyncio.run(_as_of(settings, time, name, parameters(where or ()), account, as_csv=as_csv, as_json=as_json))


async def _as_of(
    settings: Settings, time: str, name: str, asked: Parameters, account: str | None, *, as_csv: bool, as_json: bool
) -> None:
    from engage import bootstrap
    from engage.cli.progress import Progress
    from engage.services.known_accounts import must_be_known
    from engage.services.view_query import QueryError, question, shape_of

    moment, model = back(time, "TIME"), named(settings, name)
    async with bootstrap.readers(settings) as (log, store, _):
        try:
            question(shape_of(model), asked, whole=True)
        except QueryError as error:
            raise CommandFailedError(str(error), USAGE) from error
        with Progress(f"folding {name}", patience=_PATIENCE) as bar:
            async with _standing(
                settings, log, model, moment, account, store, lambda done, of: bar.to(done, total=of)
            ) as then:
                with then.table(name, asked) as (fields, found):
                    rows = iter(found)
                    first = next(rows, None)
                    if first is None and account is not None:
                        await must_be_known(log, account, moment)
                    rows = rows if first is None else chain((first,), rows)
                    show_rows(fields, rows, as_csv=as_csv, as_json=as_json)


@asynccontextmanager
async def _standing(
    settings: Settings,
    log: Log,
    model: ReadModel[Any],
    moment: datetime,
    account: str | None,
    store: ViewStore | None,
    told: Callable[[int, int], None],
) -> AsyncIterator[Views]:
    """The read model as it stood: where it stands still, folded of one account alone, or by way of snapshots."""
    from engage import bootstrap
    from engage.services.as_of import as_of
    from engage.services.platform import utc_now
    from engage.services.prefix import ends_at
    from engage.services.views import Views
    from engage.services.whole_as_of import ever_linked, stands_live, whole_as_of
    from engage.views.asking import Condition

    now = utc_now()
    if (
        account is None
        and store is not None
        and moment <= now
        and stands_live(store, model, await ends_at(log, moment), moment, linked=ever_linked(log))
    ):
        yield Views(store, [model], only=(Condition("recorded", "le", moment),))
        return
    if account is None and os.access(settings.home_path, os.W_OK):
        folded = whole_as_of(log, model, moment, now, bootstrap.snapshots(settings), told)
    else:
        folded = as_of(log, [model], moment, now, account=account, store=store, progress=told)
    async with folded as then:
        yield Views(then, [model])


def replay(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", help="The read models to fold.", autocompletion=completing.read_models),
    ],
    into: Annotated[
        str,
        typer.Option("--into", metavar="FILE|URL", help="A SQLite file, made if it is not there, or a database URL."),
    ],
    account: Annotated[str | None, typer.Option("--account", metavar="ID", help="Only what this account did.")] = None,
    types: Types = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only what was recorded then or later.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Only what was recorded before.")] = None,
    partition: Annotated[
        int | None, typer.Option("--partition", metavar="N", min=0, help="Only what this partition holds.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Fold a part of the log into read models of their own, as SQL tables beside the live ones.

    Nothing is appended and nothing is sent. Interrupted, the same command goes on from where it was. A file holds one
    part: for another, name another.
    """
    from engage import bootstrap
    from engage.cli.door import must_exist
    from engage.cli.progress import Progress
    from engage.services.as_of import replay as fold
    from engage.services.known_accounts import must_be_known
    from engage.services.known_types import types_must_be_known
    from engage.services.log_search import Wanted
    from engage.store.views import GenerationError

    settings = bootstrap.settings()
    must_exist(settings)
    url = into if "://" in into else f"sqlite:///{Path(into).absolute()}"
    if url == settings.views or Path(into).absolute() in {path.absolute() for path in settings.home_path.glob("*.db")}:
        raise CommandFailedError(f"{into} is engage's own: name a file or a database beside it", USAGE)
    models = [named(settings, name) for name in names]
    first, last = between(since, until)
    wanted = Wanted(account=account, types=tuple(types or ()), since=first, until=last, partition=partition)

    async def run() -> int:
        async with bootstrap.reading_log(settings) as log:
            if partition is not None and partition >= log.partitions:
                raise CommandFailedError(f"there is no partition {partition}: the log has {log.partitions}", NOT_FOUND)
            if account is not None:
                await must_be_known(log, account)
            await types_must_be_known(log, wanted.types)
            with _beside(into, url) as store, Progress("folding", patience=_PATIENCE) as bar:
                try:
                    return await fold(log, store, models, wanted, lambda done, of: bar.to(done, total=of))
                except GenerationError as error:
                    raise CommandFailedError(
                        f"{into} holds another part of the log, or one of another log: name another file"
                    ) from error

    records = asyncio.run(run())
    if as_json:
        emit({"into": into, "read_models": names, "records": records})
    else:
        say(f"{records:,} records folded into {', '.join(names)} in {into}")


@contextmanager
def _beside(into: str, url: str) -> Iterator[ViewStore]:
    """The store to fold into; CommandFailedError where it can be none, or no more."""
    from sqlalchemy.exc import DatabaseError

    from engage.store.views import ViewStore

    try:
        store = ViewStore(url)
    except ValueError as error:
        raise CommandFailedError(f"--into {into}: {error}", USAGE) from error
    except DatabaseError as error:
        raise _unusable(into, error) from error
    with closing(store):
        try:
            yield store
        except DatabaseError as error:
            raise _unusable(into, error) from error


def _unusable(into: str, error: DatabaseError) -> CommandFailedError:
    first = str(error.orig).partition("\n")[0]
    return CommandFailedError(f"--into {into} cannot be used ({first}): name another file or database")
