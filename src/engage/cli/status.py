"""``engage status``: how far everything has come, also beside a running process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engage.cli.output import JsonFlag, data, emit, moment, table

if TYPE_CHECKING:
    from engage.services.status import Status


def status(as_json: JsonFlag = False) -> None:
    """Show how far log, read models, desk and relay have come, and what waits or failed."""
    from engage import bootstrap
    from engage.cli.door import must_exist
    from engage.log.sqlite import SqliteLog
    from engage.services.owner import find_owner
    from engage.services.status import next_wake, read_status
    from streams import RULES

    settings = bootstrap.settings()
    must_exist(settings)

    async def run() -> Status:
        async with bootstrap.readers(settings) as (log, store, relationships):
            return await read_status(
                log,
                store,
                relationships,
                bootstrap.read_models(settings),
                home=settings.home_path,
                owner=find_owner(settings.home_path),
                next_wake=next_wake(log, RULES) if isinstance(log, SqliteLog) else None,
                webhooks=bootstrap.webhook_standings(settings),
            )

    found = asyncio.run(run())
    if as_json:
        emit(found)
    else:
        _show(found)


def _show(found: Status) -> None:
    out = data()
    owner = found.owner
    serves = f", serving at {owner.url}" if owner and owner.url else ""
    out.print(f"log {found.generation}, " + (f"owned by process {owner.pid}{serves}" if owner else "owned by nobody"))
    out.print()
    partitions = [(str(one.partition), f"{one.end:,}", moment(one.newest)) for one in found.log]
    for line in table(("partition", "records", "newest (UTC)"), partitions, right=(0, 1)):
        out.print(line, soft_wrap=True)
    out.print()
    views = [
        (one.name, str(one.version), f"{one.behind:,}", f"{one.parked:,}", str(one.paused or "")) for one in found.views
    ]
    for line in table(("read model", "version", "behind", "parked", ""), views, right=(1, 2, 3)):
        out.print(line, soft_wrap=True)
    out.print()
    out.print(f"desk              {found.desk_behind:,} records behind")
    out.print(f"relay             {found.relay_waiting:,} events waiting")
    out.print(f"next wake         {moment(found.next_wake) or 'none'}")
    if found.dead_letters is not None:
        out.print(f"dead letters      {found.dead_letters:,}")
    for one in found.webhooks:
        state = f"DISABLED: {one.disabled}" if one.disabled else "enabled"
        failing = f", failing since {moment(one.failing_since)}" if one.failing_since else ""
        out.print(
            f"webhook           {one.id} to {one.host}: {state}{failing}, {one.waiting:,} waiting", soft_wrap=True
        )
    for name, size in found.files.items():
        out.print(f"{name:<17} {size / 1e6:,.1f} MB")
