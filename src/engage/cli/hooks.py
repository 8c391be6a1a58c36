"""``engage hooks``: what inbound webhooks are configured, what a body of theirs means, and bodies that were missed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from engage.cli.output import NOT_FOUND, REFUSED, USAGE, CommandFailedError, JsonFlag, data, emit, say, table

if TYPE_CHECKING:
    from engage.events.validation import Fault
    from engage.services.hooks.mapping import Hook

app = typer.Typer(no_args_is_help=True, help="Inbound webhooks: what other systems send, and what it means.")


@app.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """List them, with what is odd about their mappings."""
    hooks = _hooks()
    if as_json:
        emit({"hooks": [{"name": one.name, "source": one.source, "warnings": one.warnings} for one in hooks.values()]})
        return
    if not hooks:
        data().print("nothing here: hooks.toml in ENGAGE_HOME, or ENGAGE_HOOKS, names them")
        return
    rows = [(one.name, one.source, f"POST /v1/hooks/{quote(one.name, safe='')}") for one in hooks.values()]
    for line in table(("hook", "source", "sent to"), rows):
        data().print(line, soft_wrap=True)
    for one in hooks.values():
        _warn(one)


Name = Annotated[str, typer.Argument(metavar="NAME", help="The webhook's name in the mapping.")]


@app.command()
def check(
    name: Name,
    sample: Annotated[
        str | None,
        typer.Option("--sample", metavar="FILE", help="A body as that system sends it; - is stdin."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show which events a sample means and what is wrong with them; nothing is taken, no signature is asked for.

    Without a sample only the mapping is checked. Exit code 3 if an event would be refused.
    """
    hook = _named(name)
    if sample is None:
        say(f"{name}: the mapping can work; --sample FILE shows what a body would mean")
        return
    _show_what_it_means(hook, sample, "", as_json)


@app.command()
def take(
    name: Name,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="A body as that system sends it; - is stdin.")],
    message: Annotated[
        str, typer.Option("--webhook-id", metavar="ID", help="The webhook-id that it came with, if it came with one.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the events it means; take nothing.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Take a body in that was missed, as if that system had sent it; no signature is asked for.

    What came already is not counted twice. Exit code 3 if an event is, or would be, refused.
    """
    hook = _named(name)
    if dry_run:
        _show_what_it_means(hook, file, message, as_json)
        return

    import asyncio

    from engage import bootstrap
    from engage.cli.door import open_door, publisher
    from engage.cli.taking import Taken, report, settle, take_all
    from engage.events.validation import Fault
    from engage.services.lines import Line, LineFault

    items: list[Line | LineFault] = [
        LineFault(number, (made,)) if isinstance(made, Fault) else Line(number, made)
        for number, made in enumerate(_meaning(hook, file, message), 1)
    ]

    async def run() -> Taken:
        async with open_door(bootstrap.settings()) as door:
            taken = await take_all(file, items, publisher(door))
            await settle(door, taken)
            return taken

    report(asyncio.run(run()), as_json)


def _named(name: str) -> Hook:
    hooks = _hooks()
    hook = hooks.get(name)
    if hook is None:
        known = ", ".join(hooks) or "none"
        raise CommandFailedError(f"there is no webhook {name!r} in the mapping: there are {known}", NOT_FOUND)
    _warn(hook)
    return hook


def _meaning(hook: Hook, file: str, message: str) -> list[bytes | Fault]:
    """What the body in ``file`` means, as it came in the message of this id."""
    import sys

    import msgspec

    from engage.events.repeated_keys import TWICE, repeated_key
    from engage.services.platform import utc_now

    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        body = msgspec.json.decode(raw)
        twice = repeated_key(raw, body)
    except OSError as error:
        raise CommandFailedError(f"{file}: {error.strerror}: check the name", USAGE) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CommandFailedError(f"{file}: is not JSON in UTF-8: {error}", USAGE) from error
    if twice is not None:
        raise CommandFailedError(f"{file}: {twice} {TWICE}", USAGE)
    return hook.events(body, hook.delivery({"webhook-id": message} if message else {}, raw), utc_now())


def _show_what_it_means(hook: Hook, file: str, message: str, as_json: bool) -> None:
    import msgspec

    from engage.events.validation import Fault, Refusal
    from engage.events.validation import check as checked
    from engage.services.platform import utc_now

    events: list[dict[str, Any]] = []
    faults: list[Fault] = []
    for made in _meaning(hook, file, message):
        if isinstance(made, Fault):
            faults.append(made)
            continue
        events.append(msgspec.json.decode(made))
        answer = checked(made, utc_now())
        if isinstance(answer, Refusal):
            faults += [Fault(f"event {len(events)} {fault.pointer}", fault.message) for fault in answer.faults]
    _show(events, faults, as_json)
    if faults:
        raise typer.Exit(REFUSED)


def _show(events: list[dict[str, Any]], faults: list[Any], as_json: bool) -> None:
    if as_json:
        emit({"events": events, "faults": faults})
        return
    import msgspec

    for event in events:
        typer.echo(msgspec.json.format(msgspec.json.encode(event), indent=2).decode())
    for fault in faults:
        say(f"{fault.pointer}: {fault.message}")
    say(f"{len(events)} events, {len(faults)} faults; nothing was taken")


def _warn(hook: Hook) -> None:
    for warning in hook.warnings:
        say(f"{hook.name}: {warning}")


def _hooks() -> dict[str, Hook]:
    from engage import bootstrap

    settings = bootstrap.settings()
    try:
        return bootstrap.hooks(settings)
    except OSError as error:
        raise CommandFailedError(f"{settings.hooks}: {error.strerror}: check ENGAGE_HOOKS", USAGE) from error
