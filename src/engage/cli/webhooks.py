"""``engage webhooks``: who outside is told what, whether it arrives, and what to do when it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engage.cli import completing
from engage.cli.output import (
    FAILED,
    NOT_FOUND,
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
    from engage.services.webhooks.managing import Webhooks

app = typer.Typer(no_args_is_help=True, help="Tell other systems what happens: signed webhooks.")

Id = Annotated[str, typer.Argument(metavar="ID", help="The endpoint's id from the list.")]
Names = list[str] | None
_NOT_FOUND, _UNFIT = 404, 422

Ask = Callable[["Webhooks"], Awaitable[Any]]


@app.command()
def add(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where to send to: https://…")],
    on: Annotated[
        list[str],
        typer.Option(
            "--on",
            metavar="TYPE",
            help="An event type such as follow_up.requested, or view:NAME; again for more.",
            autocompletion=completing.event_types,
        ),
    ],
    channel: Annotated[Names, typer.Option("--channel", metavar="NAME", help="Only follow-ups by this one.")] = None,
    rule: Annotated[
        Names,
        typer.Option("--rule", metavar="NAME", help="Only follow-ups of this rule.", autocompletion=completing.rules),
    ] = None,
    purpose: Annotated[Names, typer.Option("--purpose", metavar="NAME", help="Only follow-ups for this.")] = None,
    kind: Annotated[Names, typer.Option("--kind", metavar="KIND", help="Only accounts of this kind.")] = None,
    in_clear: Annotated[
        Names, typer.Option("--in-clear", metavar="FIELD", help="Send this personal field, else all are left out.")
    ] = None,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Send all that there is, not only what comes from now on.")
    ] = False,
    actor: Actor = None,
    as_json: JsonFlag = False,
) -> None:
    """Tell another endpoint. Its secret is shown this once; messages are signed as Standard Webhooks has it."""
    from engage.services.webhooks.managing import NewEndpoint

    new = NewEndpoint(
        url=url,
        on=tuple(on),
        channels=tuple(channel or ()),
        rules=tuple(rule or ()),
        purposes=tuple(purpose or ()),
        kinds=tuple(kind or ()),
        in_clear=tuple(in_clear or ()),
        from_start=from_start,
    )
    _with_secret(_do(lambda webhooks: webhooks.add(new), "POST", "", new, actor=actor), as_json)


@app.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """List the endpoints, and whether what they are told arrives."""
    found = _do(lambda webhooks: asyncio.to_thread(webhooks.all), "GET")
    found = found["webhooks"] if isinstance(found, dict) else found
    if as_json:
        emit({"webhooks": found})
    else:
        _table(("id", "state", "waiting", "last answer", "url", "on"), [_row(one) for one in found], right=(2,))


@app.command()
def show(webhook: Id, as_json: JsonFlag = False) -> None:
    """Show one endpoint."""
    _show(_do(lambda webhooks: asyncio.to_thread(webhooks.one, webhook), "GET", f"/{webhook}"), as_json)


@app.command()
def remove(webhook: Id, actor: Actor = None, as_json: JsonFlag = False) -> None:
    """Tell it nothing more; what waits for it is not sent either."""
    _do(lambda webhooks: asyncio.to_thread(webhooks.remove, webhook), "DELETE", f"/{webhook}", actor=actor)
    if as_json:
        emit({"removed": webhook})
    else:
        say(f"{webhook} is gone")


@app.command()
def enable(
    webhook: Id,
    from_now: Annotated[
        bool, typer.Option("--from-now", help="Pass over what happened while it was disabled.")
    ] = False,
    actor: Actor = None,
    as_json: JsonFlag = False,
) -> None:
    """Send there again, from where it stood; what waits is sent at once."""
    answer = _do(
        lambda webhooks: webhooks.enable(webhook, from_now=from_now),
        "POST",
        f"/{webhook}/enable",
        {"from_now": from_now},
        actor=actor,
    )
    _show(answer, as_json)


@app.command()
def disable(webhook: Id, actor: Actor = None, as_json: JsonFlag = False) -> None:
    """Send nothing there until it is enabled again; nothing is lost."""
    _show(
        _do(lambda webhooks: asyncio.to_thread(webhooks.disable, webhook), "POST", f"/{webhook}/disable", actor=actor),
        as_json,
    )


@app.command()
def rotate(
    webhook: Id,
    keep_hours: Annotated[
        float, typer.Option("--keep-hours", metavar="N", min=0, max=2160, help="How long the old secret signs too.")
    ] = 24.0,
    actor: Actor = None,
    as_json: JsonFlag = False,
) -> None:
    """Give it a new secret; for a while messages carry a signature by the old one too."""
    kept = timedelta(hours=keep_hours)
    path, body = f"/{webhook}/rotate", {"keep_hours": keep_hours}
    _with_secret(
        _do(lambda webhooks: asyncio.to_thread(webhooks.rotate, webhook, kept), "POST", path, body, actor=actor),
        as_json,
    )


@app.command()
def test(webhook: Id, actor: Actor = None, as_json: JsonFlag = False) -> None:
    """Send it a message of type webhook.test now, and say what it answers; exit code 1 if it does not take it."""
    found = _do(lambda webhooks: webhooks.test(webhook), "POST", f"/{webhook}/test", actor=actor)
    if as_json:
        emit(found)
    else:
        typer.echo(found["words"])
    if not found["taken"]:
        raise typer.Exit(FAILED)


@app.command()
def deliveries(
    webhook: Id,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1000, help="At most so many.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """Show what was and is to be sent there, the latest first."""
    path = f"/{webhook}/deliveries?limit={limit}"
    found = _do(lambda webhooks: asyncio.to_thread(webhooks.deliveries, webhook, limit), "GET", path)
    found = found["deliveries"] if isinstance(found, dict) else found
    if as_json:
        emit({"deliveries": found})
        return
    rows = [
        (
            one["message"],
            one["type"],
            one["account"],
            one["state"],
            str(one["attempts"]),
            one["answer"] or "",
            _when(one["ended_at"] or one["next_at"]),
        )
        for one in found
    ]
    _table(("message", "type", "account", "state", "attempts", "answer", "ended or next (UTC)"), rows, right=(4,))


def _do(ask: Ask, method: str, path: str = "", body: Any = None, actor: str | None = None) -> Any:
    """Do it here, or have it done by the process that owns the folder; the answer as JSON has it."""
    import msgspec

    from engage import bootstrap
    from engage.cli.door import must_exist, open_door
    from engage.client import Client, ClientError
    from engage.services.webhooks.destination import EndpointError
    from engage.services.webhooks.managing import WebhookNotFoundError

    settings = bootstrap.settings()
    if method == "GET" or path:
        must_exist(settings)

    async def run() -> Any:
        async with open_door(settings, actor) as door:
            if isinstance(door, Client):
                return door.ask(method, f"/v1/webhooks{path}", None if body is None else msgspec.to_builtins(body))
            if method == "GET":
                return msgspec.to_builtins(await ask(door.webhooks))
            webhook, _, verb = path.removeprefix("/").partition("/")
            command = {"DELETE": "remove"}.get(method, verb or "add")
            with door.trail.of(who(actor), f"webhooks {command}", webhook or "/v1/webhooks") as course:
                found = msgspec.to_builtins(await ask(door.webhooks))
                if command == "add":
                    course.thing = found["id"]
                return found

    try:
        return asyncio.run(run())
    except EndpointError as error:
        raise CommandFailedError(str(error), USAGE) from error
    except WebhookNotFoundError as error:
        raise CommandFailedError(str(error), NOT_FOUND) from error
    except ClientError as error:
        code = {_NOT_FOUND: NOT_FOUND, _UNFIT: USAGE}.get(error.status or 0, FAILED)
        raise CommandFailedError(str(error), code) from error


def _with_secret(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit(found)
        return
    typer.echo(f"{found['id']}  {found['secret']}")
    say("give the secret to the receiver: it is not shown again (`engage webhooks rotate` makes another)")


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit(found)
        return
    shown = {name: ", ".join(value) if isinstance(value, list | tuple) else value for name, value in found.items()}
    for line in table((), [(name, str(value)) for name, value in shown.items() if value not in ("", None)]):
        data().print(line, soft_wrap=True)


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    failing = f"failing since {_when(one['failing_since'])}" if one["failing_since"] else "enabled"
    state = "disabled" if one["disabled"] else failing
    return one["id"], state, f"{one['waiting']:,}", one["last_answer"] or "", one["url"], ", ".join(one["on"])


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]], right: tuple[int, ...]) -> None:
    out = data()
    if not rows:
        out.print("nothing here")
        return
    names, *lines = table(header, rows, right=right)
    out.print(names, style="bold", soft_wrap=True)
    for line in lines:
        out.print(line, soft_wrap=True)


def _when(text: str | None) -> str:
    from datetime import datetime

    return "" if text is None else moment(datetime.fromisoformat(text))
