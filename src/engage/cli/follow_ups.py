"""``engage follow-ups``: the queue, and what people do with what is in it."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from engage.cli import completing
from engage.cli.moments import ahead
from engage.cli.output import (
    NOT_FOUND,
    SHORT_ID,
    USAGE,
    Actor,
    CommandFailedError,
    JsonFlag,
    data,
    day,
    emit,
    show_below,
    span,
    table,
    who,
)

if TYPE_CHECKING:
    from engage.services.commanding import Verb
    from engage.services.reading import FollowUp, Which
    from engage.settings import Settings

app = typer.Typer(help="The queue of follow-ups: list it, and work on it.")

_BEGINNING = re.compile(r"[0-9a-f]{4}[0-9a-f-]*")

Account = Annotated[str | None, typer.Option("--account", metavar="ID", help="Only those of this account.")]
Rule = Annotated[
    str | None,
    typer.Option(
        "--rule",
        metavar="NAME",
        help="Only those that this rule asked for.",
        autocompletion=completing.rules,
    ),
]
Assignee = Annotated[str | None, typer.Option("--assignee", metavar="PERSON", help="Only those of this person.")]
Status = Annotated[
    str,
    typer.Option(
        "--status", metavar="STATUS", help="open (all that is not closed), closed, or one status such as snoozed."
    ),
]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The follow-up's id from the list, or how it begins.")]
Version = Annotated[
    int | None, typer.Option("--if-version", metavar="N", min=1, help="Only if it still has this version.")
]
Note = Annotated[str | None, typer.Option("--note", metavar="TEXT", help="Free text; it is kept sealed.")]


@app.callback(invoke_without_command=True)
def follow_ups(
    ctx: typer.Context,
    account: Account = None,
    rule: Rule = None,
    assignee: Assignee = None,
    status: Status = "open",
    limit: Limit = 50,
    as_json: JsonFlag = False,
) -> None:
    """The queue of follow-ups: list it (the default), and work on it."""
    if ctx.invoked_subcommand is None:
        _list(account, rule, assignee, status, limit, as_json)


@app.command("list")
def list_(
    account: Account = None,
    rule: Rule = None,
    assignee: Assignee = None,
    status: Status = "open",
    limit: Limit = 50,
    as_json: JsonFlag = False,
) -> None:
    """List them: what is overdue first, then the more urgent, then the sooner due."""
    _list(account, rule, assignee, status, limit, as_json)


@app.command()
def assign(
    follow_up: Id,
    assignee: Annotated[str, typer.Option("--to", metavar="PERSON", help="Who is responsible from now on.")],
    actor: Actor = None,
    if_version: Version = None,
    as_json: JsonFlag = False,
) -> None:
    """Make somebody responsible."""
    _act("assign", follow_up, {"assignee": assignee}, actor, if_version, as_json)


@app.command()
def snooze(
    follow_up: Id,
    until: Annotated[
        str,
        typer.Option("--until", metavar="WHEN", help="2026-03-01, 2026-03-01T09:00 or from now on: 4h, 3d, 2w."),
    ],
    actor: Actor = None,
    if_version: Version = None,
    as_json: JsonFlag = False,
) -> None:
    """Let it rest until a moment before it expires."""
    _act("snooze", follow_up, {"until": ahead(until, "--until").isoformat()}, actor, if_version, as_json)


@app.command()
def start(follow_up: Id, actor: Actor = None, if_version: Version = None, as_json: JsonFlag = False) -> None:
    """Say that somebody works on it."""
    _act("start", follow_up, {}, actor, if_version, as_json)


@app.command()
def complete(
    follow_up: Id,
    outcome: Annotated[
        str,
        typer.Option("--outcome", metavar="CODE", help="What came of it, as a short code: reached, renewed."),
    ],
    note: Note = None,
    actor: Actor = None,
    if_version: Version = None,
    as_json: JsonFlag = False,
) -> None:
    """Close it: it was done."""
    _act("complete", follow_up, {"outcome": outcome, "note": note}, actor, if_version, as_json)


@app.command()
def dismiss(
    follow_up: Id,
    reason: Annotated[
        str,
        typer.Option("--reason", metavar="CODE", help="Why it is not needed, as a short code: already_solved."),
    ],
    note: Note = None,
    actor: Actor = None,
    if_version: Version = None,
    as_json: JsonFlag = False,
) -> None:
    """Close it: it is not needed."""
    _act("dismiss", follow_up, {"reason": reason, "note": note}, actor, if_version, as_json)


def _list(account: str | None, rule: str | None, assignee: str | None, status: str, limit: int, as_json: bool) -> None:
    from typing import get_args

    from engage import bootstrap
    from engage.cli.door import must_exist
    from engage.near_names import meant
    from engage.services.platform import utc_now
    from engage.services.reading import Reading, Which
    from streams import RULES

    if status not in get_args(Which):
        raise CommandFailedError(f"--status {status!r} is none: choose one of {', '.join(get_args(Which))}", USAGE)
    which: Which = status  # type: ignore[assignment]
    settings = bootstrap.settings()
    must_exist(settings)
    with bootstrap.reading_views(settings) as store:
        found = Reading(store, utc_now).follow_ups(which, account=account, rule=rule, assignee=assignee, limit=limit)
    names = sorted(known.name for known in RULES)
    if not found and rule is not None and rule not in names:
        raise CommandFailedError(f"--rule {rule!r} is none: {meant(rule, names)}", USAGE)
    if as_json:
        emit({"follow_ups": found})
    else:
        _show(found)


def _show(found: list[FollowUp]) -> None:
    out = data()
    if not found:
        out.print("nothing here")
        return
    header = ("id", "account", "due (UTC)", "priority", "status", "assignee")
    rows = [
        (one.follow_up[:SHORT_ID], one.account, due(one), one.priority, one.status, one.assignee or "") for one in found
    ]
    names, *lines = table(header, rows)
    out.print(names, style="bold", soft_wrap=True)
    for one, line in zip(found, lines, strict=True):
        out.print(line, soft_wrap=True)
        show_below(out, f"{one.what}: {one.why}")


def due(one: FollowUp) -> str:
    """When it is due, or for how long it has been."""
    late = datetime.now(UTC) - one.due
    return f"overdue {span(late)}" if one.overdue and late > timedelta(0) else day(one.closed_at or one.due)


def _act(
    verb: Verb, named: str, values: dict[str, Any], actor: str | None, if_version: int | None, as_json: bool
) -> None:
    import msgspec

    from engage import bootstrap
    from engage.cli.door import must_exist, open_door
    from engage.client import Client
    from engage.events.plain_words import plain_text
    from engage.relationships.errors import CommandError, NotFoundError
    from engage.services.commanding import REQUESTS, command, request_from

    settings = bootstrap.settings()
    must_exist(settings)
    follow_up = _identity(settings, named)
    given = {"actor": who(actor), **values}
    try:
        request = request_from(verb, given)
    except msgspec.ValidationError as error:
        raise CommandFailedError(f"{verb}: {plain_text(error, given, REQUESTS[verb][0])}", USAGE) from error

    async def run() -> dict[str, Any]:
        async with open_door(settings) as door:
            if isinstance(door, Client):
                return door.act(str(follow_up), verb, msgspec.to_builtins(request), if_version=if_version)
            answer = door.desk.do([command(verb, follow_up, request, door.clock(), if_version)])[0]
            if isinstance(answer, CommandError):
                raise CommandFailedError(str(answer), NOT_FOUND if isinstance(answer, NotFoundError) else 1)
            if door.embedded is not None:
                await door.settle()
            state: dict[str, Any] = msgspec.to_builtins(answer)
            return state

    state = asyncio.run(run())
    if as_json:
        emit(state)
        return
    typer.echo(f"{state['id']} of {state['account']} is {state['status']} (version {state['version']})")


def _identity(settings: Settings, named: str) -> UUID:
    """The id that ``named`` is, or that alone begins so."""
    from engage import bootstrap
    from engage.services.platform import utc_now
    from engage.services.reading import Reading

    text = named.lower()
    try:
        return UUID(text)
    except ValueError:
        if not _BEGINNING.fullmatch(text):
            raise CommandFailedError(
                f"{named!r} is no id of a follow-up, nor how one begins: take it from `engage follow-ups`", USAGE
            ) from None
    with bootstrap.reading_views(settings) as store:
        found = Reading(store, utc_now).follow_up_ids(text)
    if not found:
        raise CommandFailedError(
            f"there is no follow-up whose id begins with {named!r}: `engage follow-ups` lists the open ones", NOT_FOUND
        )
    if len(found) > 1:
        raise CommandFailedError(f"several follow-ups begin with {named!r}: say which, {', '.join(found)}", USAGE)
    return UUID(found[0])
