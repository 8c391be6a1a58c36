"""``engage hooks``: what inbound webhooks are configured, and what a sample would mean, without taking it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engage.cli.output import NOT_FOUND, REFUSED, USAGE, CommandFailedError, JsonFlag, data, emit, say, table

if TYPE_CHECKING:
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
    rows = [(one.name, one.source, f"POST /v1/hooks/{one.name}") for one in hooks.values()]
    for line in table(("hook", "source", "sent to"), rows):
        data().print(line, soft_wrap=True)
    for one in hooks.values():
        _warn(one)


@app.command()
def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The webhook's name in the mapping.")],
    sample: Annotated[
        Path | None,
        typer.Option("--sample", metavar="FILE", help="A body as that system sends it; - is stdin."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show which events a sample means and what is wrong with them; nothing is taken, no signature is asked for.

    Without a sample only the mapping is checked. Exit code 3 if an event would be refused.
    """
    import sys

    import msgspec

    from engage.events.validation import Fault, Refusal
    from engage.events.validation import check as checked
    from engage.services.platform import utc_now

    hooks = _hooks()
    hook = hooks.get(name)
    if hook is None:
        known = ", ".join(hooks) or "none"
        raise CommandFailedError(f"there is no webhook {name!r} in the mapping: there are {known}", NOT_FOUND)
    _warn(hook)
    if sample is None:
        say(f"{name}: the mapping can work; --sample FILE shows what a body would mean")
        return
    try:
        raw = sys.stdin.buffer.read() if str(sample) == "-" else sample.read_bytes()
        body = msgspec.json.decode(raw)
    except OSError as error:
        raise CommandFailedError(f"{sample}: {error.strerror}: check the name", USAGE) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CommandFailedError(f"{sample}: is not JSON in UTF-8: {error}", USAGE) from error
    now = utc_now()
    events: list[dict[str, Any]] = []
    faults: list[Fault] = []
    for made in hook.events(body, hook.delivery({}, raw), now):
        if isinstance(made, Fault):
            faults.append(made)
            continue
        events.append(msgspec.json.decode(made))
        answer = checked(made, now)
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
