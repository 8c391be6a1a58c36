"""``engage status``: how far everything has come, also beside a running process, once or as it goes on."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from engage.cli.output import JsonFlag, data, emit, moment, span, table

if TYPE_CHECKING:
    from engage.services.status import Status
    from engage.settings import Settings

_EVERY_SECONDS = 2.0
_NO_WAKE = "not known here: the workers that decide keep it"
_NO_LETTERS = "not counted here: `engage dead-letters list` reads them"


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Go on, with rates and what is left, until Ctrl-C.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show how far log, read models, desk and relay have come, and what waits or failed.

    With --watch and --json: one JSON object a line.
    """
    from engage import bootstrap
    from engage.cli.door import must_exist

    settings = bootstrap.settings()
    must_exist(settings)
    if watch:
        with suppress(KeyboardInterrupt):
            asyncio.run(_watch(settings, as_json))
        return
    found = asyncio.run(_once(settings))
    if as_json:
        emit(found)
    else:
        for line in _lines(found):
            data().print(line, soft_wrap=True)


async def _once(settings: Settings) -> Status:
    async with aclosing(_read(settings)) as readings:
        return await anext(readings)


async def _read(settings: Settings) -> AsyncGenerator[Status]:
    """The status, as often as it is asked for."""
    from engage import bootstrap
    from engage.log.sqlite import SqliteLog
    from engage.services.owner import find_owner
    from engage.services.status import next_wake, read_status
    from streams import RULES

    async with bootstrap.readers(settings) as (log, store, relationships):
        while True:
            yield await read_status(
                log,
                store,
                relationships,
                bootstrap.read_models(settings),
                home=settings.home_path,
                owner=find_owner(settings.home_path),
                next_wake=next_wake(log, RULES) if isinstance(log, SqliteLog) else None,
                webhooks=bootstrap.webhook_standings(settings),
            )


async def _watch(settings: Settings, as_json: bool) -> None:
    import msgspec
    from rich.live import Live
    from rich.text import Text

    before: tuple[float, Status] | None = None
    async with AsyncExitStack() as stack:
        screen = sys.stdout.isatty() and not as_json
        live = stack.enter_context(Live(console=data(), auto_refresh=False, screen=screen))
        readings = await stack.enter_async_context(aclosing(_read(settings)))
        async for found in readings:
            now = time.monotonic()
            if as_json:
                typer.echo(msgspec.json.encode(found))
            else:
                since = None if before is None else (now - before[0], before[1])
                lines = _lines(found, since)
                if sys.stdout.isatty() and len(lines) > live.console.height:
                    lines = _lines(found, since, briefly=True)
                live.update(Text("\n".join(lines)), refresh=True)
            before = (now, found)
            await asyncio.sleep(_EVERY_SECONDS)


def _lines(found: Status, before: tuple[float, Status] | None = None, *, briefly: bool = False) -> list[str]:
    """The page; with what was ``before``, and how many seconds ago, also rates and how long what is left will take.

    ``briefly``: read models that keep up are counted, and named no more.
    """
    from engage.services.status import not_here

    owner, kafka = found.owner, found.dead_letters is None
    serves = f", serving at {owner.url}" if owner and owner.url else ""
    owned = f"owned by process {owner.pid}{serves}" if owner else "on Kafka" if kafka else "owned by nobody"
    lines = [f"log {found.generation}, {owned}", ""]
    grown = _grown(found, before)
    partitions = [
        (str(one.partition), f"{one.end:,}", moment(one.newest), *([f"{grown[one.partition]:,.0f}"] if grown else ()))
        for one in found.log
    ]
    header = ("partition", "records", "newest (UTC)", *(["records/s"] if grown else ()))
    lines += [*table(header, partitions, right=(0, 1, 3)), ""]
    if "views" in found.missing:
        none = not_here("views") if kafka else "none yet: `engage up` folds them"
        lines += [f"read models       {none}", ""]
    else:
        lines += [*_views(found, _rates(found, before), briefly), ""]
    if "relationships" in found.missing:
        lines.append(f"desk and relay    {not_here('relationships')}")
    else:
        lines.append(f"desk              {found.desk_behind:,} records behind")
        lines.append(f"relay             {found.relay_waiting:,} events waiting")
    lines.append(f"next wake         {_NO_WAKE if kafka else moment(found.next_wake) or 'none'}")
    lines.append(f"dead letters      {_NO_LETTERS if found.dead_letters is None else f'{found.dead_letters:,}'}")
    for one in found.webhooks:
        state = f"DISABLED: {one.disabled}" if one.disabled else "enabled"
        failing = f", failing since {moment(one.failing_since)}" if one.failing_since else ""
        lines.append(f"webhook           {one.id} to {one.host}: {state}{failing}, {one.waiting:,} waiting")
    if found.disk_bytes:
        lines.append(f"disk              {found.disk_free / 1e9:,.1f} of {found.disk_bytes / 1e9:,.1f} GB are free")
    lines += [f"{name:<17} {size / 1e6:,.1f} MB" for name, size in found.files.items()]
    return lines


def _views(found: Status, rates: Mapping[str, float], briefly: bool) -> list[str]:
    """The table of the read models."""
    views = [
        (
            one.name,
            str(one.version),
            f"{one.behind:,}",
            f"{one.parked:,}",
            *([f"{rates[one.name]:,.0f}", _left(one.behind, rates[one.name])] if rates else ()),
            str(one.paused or ""),
        )
        for one in found.views
        if not briefly or one.behind or one.parked or one.paused
    ]
    if len(views) < len(found.views):
        views.append((f"{len(found.views) - len(views)} keep up", "", "0", "0", *(("", "") if rates else ()), ""))
    header = ("read model", "version", "behind", "parked", *(["records/s", "left"] if rates else ()), "")
    return table(header, views, right=(1, 2, 3, *((4, 5) if rates else ())))


def _grown(found: Status, before: tuple[float, Status] | None) -> dict[int, float]:
    """Records a second that came to each partition."""
    if before is None:
        return {}
    seconds, then = before
    ends = {one.partition: one.end for one in then.log}
    return {one.partition: (one.end - ends.get(one.partition, one.end)) / seconds for one in found.log}


def _rates(found: Status, before: tuple[float, Status] | None) -> dict[str, float]:
    """Records a second that each read model has folded; below nothing is a read model that begins anew."""
    if before is None:
        return {}
    seconds, then = before
    stood = {one.name: sum(one.positions) for one in then.views}
    return {one.name: max(0, sum(one.positions) - stood.get(one.name, 0)) / seconds for one in found.views}


def _left(behind: int, rate: float) -> str:
    """How long it will take to fold what is behind, at this rate."""
    if not behind:
        return ""
    return span(timedelta(seconds=behind / rate)) if rate else "stands"
