"""``engage audit``: what operators did with engage itself; it works beside a running process."""

from __future__ import annotations

from typing import Annotated

import typer

from engage.cli.output import JsonFlag, data, emit, moment, say, table


def audit(
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """Show who did what with keys and read models, the newest first.

    The log holds the same, as command.given. What people did with a follow-up is in its account's story.
    """
    from engage import bootstrap

    settings = bootstrap.settings()
    deeds = []
    if bootstrap.has_access(settings):
        store = bootstrap.access_store(settings)
        try:
            deeds = store.deeds(limit)
        finally:
            store.close()
    if as_json:
        emit({"commands": deeds})
        return
    if not deeds:
        say("nobody has given a command here yet")
        return
    rows = [(moment(one.time), one.actor, one.command, one.thing, one.outcome) for one in deeds]
    for line in table(("when (UTC)", "who", "what", "of", "outcome"), rows):
        data().print(line, soft_wrap=True)
