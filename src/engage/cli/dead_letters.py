"""``engage dead-letters``: what rules, read models, intake and desk could not take; look at it, retry it, skip it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engage.cli.output import (
    FAILED,
    NOT_FOUND,
    REFUSED,
    USAGE,
    Actor,
    CommandFailedError,
    JsonFlag,
    data,
    emit,
    moment,
    say,
    table,
    who,
)

if TYPE_CHECKING:
    from engage.services.letters.letter import Chosen, DeadLetter, Details, Done, Verb

_FIRST = 5
"""So many of each fault are shown where nobody asks for all."""

app = typer.Typer(
    no_args_is_help=True,
    help="What consumers could not take: an account stands still for that rule or read model, and no other waits.",
)

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids from the list, or how they begin.")]
Where = Annotated[
    str,
    typer.Option(
        "--where",
        metavar="WORDS",
        help='Only those that fit: "fault=ZeroDivisionError rule=win-back view=loyalty account=ID since=3d".',
    ),
]
All = Annotated[bool, typer.Option("--all", help="All of them.")]


@app.command("list")
def list_(
    where: Where = "",
    every: Annotated[bool, typer.Option("--all", help="Each of them, not only the first ones of each fault.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Those there are, grouped by consumer and fault, the most frequent fault first.

    What differs from one to the next (ids, numbers) is "…" in a fault; --where "fault=…" takes it as it is shown.
    """
    from engage import bootstrap
    from engage.cli.door import must_exist
    from engage.services.status import not_here

    settings = bootstrap.settings()
    must_exist(settings)
    chosen = _chosen(None, where)

    async def run() -> list[DeadLetter]:
        async with bootstrap.dead_letters(settings) as letters:
            if letters.store is None:
                said = not_here("views") if settings.kafka else "not there yet: `engage up` folds them"
                say(f"read models are {said}")
            return await letters.listed(chosen)

    found = asyncio.run(run())
    if as_json:
        emit({"dead_letters": found})
    else:
        _show(found, every)


@app.command()
def show(letter: Annotated[str, typer.Argument(metavar="ID")], as_json: JsonFlag = False) -> None:
    """One of them: the whole error, and the event as the log has it, what is personal in it sealed."""
    from engage import bootstrap
    from engage.cli.door import must_exist
    from engage.services.letters.letter import NoSuchLetterError

    settings = bootstrap.settings()
    must_exist(settings)

    async def run() -> Details:
        async with bootstrap.dead_letters(settings) as letters:
            return await letters.one(letter)

    try:
        found = asyncio.run(run())
    except NoSuchLetterError as error:
        raise CommandFailedError(str(error), NOT_FOUND) from error
    if as_json:
        emit(found)
        return
    out, one = data(), found.letter
    rows = [
        ("id", one.id),
        ("consumer", one.consumer),
        ("account", one.account),
        ("row", one.key),
        ("event", one.event_id),
        ("place", f"{one.partition}:{one.offset}"),
        ("since", moment(one.since)),
        ("missed", None if one.missed is None else f"{one.missed:,} events since"),
        *((f"cannot {verb}", why) for verb, why in one.cannot.items()),
    ]
    for line in table((), [(name, value) for name, value in rows if value]):
        out.print(line, soft_wrap=True)
    out.print(f"\n{found.error.rstrip()}", soft_wrap=True)
    if found.event is not None:
        import msgspec

        out.print()
        out.print(msgspec.json.format(msgspec.json.encode(found.event)).decode(), soft_wrap=True)


@app.command()
def retry(
    ids: Ids = None, where: Where = "", every: All = False, actor: Actor = None, as_json: JsonFlag = False
) -> None:
    """Take it again, once what failed is mended: the account's past anew in silence, and from here on as ever.

    What fails again stays, with the new fault. What intake refused is checked anew and published.
    """
    _act("retry", ids, where, every, actor, "", as_json)


@app.command()
def skip(
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why it may be; kept on the log, so no names.")
    ],
    ids: Ids = None,
    where: Where = "",
    every: All = False,
    actor: Actor = None,
    as_json: JsonFlag = False,
) -> None:
    """Go on as if that one event had not been: the log says so, and every fold of it heeds that."""
    if not reason.strip():
        raise CommandFailedError("--reason: say why it may be skipped", USAGE)
    _act("skip", ids, where, every, actor, reason, as_json)


def _act(
    verb: Verb, ids: list[str] | None, where: str, every: bool, actor: str | None, reason: str, as_json: bool
) -> None:
    import msgspec

    from engage import bootstrap
    from engage.cli.door import must_exist, open_door
    from engage.client import Client
    from engage.services.letters.acting import Command, act
    from engage.services.letters.letter import Done, NoSuchLetterError

    chosen = _chosen(ids, where)
    if not (chosen.says or every) or (chosen.ids and every):
        raise CommandFailedError(f"say which to {verb}: ids, --where, or --all for all of them", USAGE)
    settings = bootstrap.settings()
    must_exist(settings)

    async def run() -> list[Done]:
        async with open_door(settings, actor) as door:
            if isinstance(door, Client):
                said = {name: value for name, value in msgspec.to_builtins(chosen).items() if value}
                said |= {"all": True} if every else {}
                said |= {"reason": reason} if reason else {}
                answer = door.ask("POST", f"/v1/dead-letters/{verb}", said)
                return msgspec.convert(answer["done"], list[Done])
            by = who(actor)
            command = Command(verb, by, door.clock(), reason)
            settle = door.settle if door.embedded is not None else None
            with door.trail.of(by, f"dead-letters {verb}", where or " ".join(ids or ["all"])):
                return await act(door.letters, chosen, command, door.publish, door.readers, settle=settle)

    try:
        done = asyncio.run(run())
    except NoSuchLetterError as error:
        raise CommandFailedError(str(error), NOT_FOUND) from error
    if as_json:
        emit({"done": done})
    else:
        _tell(verb, done)
    if any(one.outcome != "goes_on" for one in done):
        raise typer.Exit(REFUSED if any(one.outcome == "goes_on" for one in done) else FAILED)


def _tell(verb: Verb, done: list[Done]) -> None:
    words = {"goes_on": "goes on", "failed_again": "failed again", "waits": "waits", "refused": f"cannot {verb}"}
    out = data()
    if not done:
        out.print("nothing here")
    for one in done:
        letter = one.letter
        told = f": {one.detail}" if one.detail else ""
        out.print(f"{letter.id}  {letter.consumer} on {letter.account}: {words[one.outcome]}{told}", soft_wrap=True)


def _show(found: list[DeadLetter], every: bool) -> None:
    from engage.services.letters.letter import by_fault

    out = data()
    if not found:
        out.print("nothing here: every consumer goes on")
    for number, ((consumer, fault), letters) in enumerate(by_fault(found).items()):
        if number:
            out.print()
        out.print(f"{consumer}: {fault} ({len(letters):,})", style="bold", soft_wrap=True)
        if letters[0].fault != fault:
            out.print(f"such as {letters[0].fault}", style="dim", soft_wrap=True)
        rows = [
            (one.id, one.account, f"{one.partition}:{one.offset}", moment(one.since), one.event_id)
            for one in (letters if every else letters[:_FIRST])
        ]
        for line in table(("id", "account", "place", "since (UTC)", "event"), rows):
            out.print(line, soft_wrap=True)
        if more := len(letters) - len(rows):
            out.print(f"and {more:,} more: --all shows each", style="dim", soft_wrap=True)


def _chosen(ids: list[str] | None, where: str) -> Chosen:
    from msgspec import structs

    from engage.cli.moments import back
    from engage.services.letters.letter import WrongChoiceError, chosen_by

    def since(text: str) -> Any:
        return back(text, "--where since")

    try:
        return structs.replace(chosen_by(where, since), ids=tuple(ids or ()))
    except WrongChoiceError as error:
        raise CommandFailedError(f"--where: {error}", USAGE) from error
