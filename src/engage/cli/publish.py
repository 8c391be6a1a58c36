"""``engage publish``: events from a file or a pipe into the log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from engage.cli.output import JsonFlag, Rejects

if TYPE_CHECKING:
    from engage.cli.taking import Taken


def publish(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="JSON lines, plain or gzip; - is standard input.")],
    rejects: Rejects = None,
    as_json: JsonFlag = False,
) -> None:
    """Publish CloudEvents or Segment messages, one JSON object a line.

    Good lines are taken whatever the others are; the same file again is taken once. Exit code 3: some were refused.
    """
    from engage import bootstrap
    from engage.cli.door import open_door, publisher
    from engage.cli.taking import check_rejects, opened_input, report, settle, take, write_rejects
    from engage.services.importer import read_events
    from engage.services.lines import file_label

    check_rejects(rejects, file)

    async def run() -> Taken:
        with opened_input(file) as opened:
            async with open_door(bootstrap.settings()) as door:
                taken = await take(file_label(file), opened, read_events(opened), publisher(door))
                await settle(door, taken)
                return taken

    taken = asyncio.run(run())
    write_rejects(rejects, file, taken)
    report(taken, as_json)
