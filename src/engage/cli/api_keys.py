"""``engage api-keys``: who may come in over HTTP, and with what; it works beside a running process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engage.cli.moments import span_of
from engage.cli.output import NOT_FOUND, Actor, CommandFailedError, JsonFlag, data, emit, moment, say, table, who

if TYPE_CHECKING:
    from engage.services.api_keys import ApiKeys
    from engage.store.api_keys import ApiKey

app = typer.Typer(no_args_is_help=True, help="API keys: who may come in over HTTP, and what they may do.")

Named = Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is, as `list` shows it.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is: a system or a person, by its id.")],
    scopes: Annotated[
        list[str],
        typer.Option("--scope", metavar="SCOPE", help="publish, read, work or operate; say it again for several."),
    ],
    sources: Annotated[
        list[str] | None,
        typer.Option("--source", metavar="SOURCE", help="Publish as this source alone, or these; any, if left out."),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="SPAN", help="How long it holds: 90d, 12h; for ever, if left out."),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option("--rate", metavar="N", min=0.01, help="Requests a second; as ENGAGE_RATE says, if left out."),
    ] = None,
    actor: Actor = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a key and show it, this once: only a digest of it is kept."""
    span = None if expires is None else span_of(expires, "--expires")
    with _keys(actor, make=True) as keys:
        key, text = keys.create(name, scopes, sources or [], expires=span, rate=rate)
    _tell(key, text, as_json)


@app.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """Every key, also those that hold no more: never the keys themselves."""
    with _keys(None) as keys:
        found = keys.every()
    now = datetime.now(UTC)
    if as_json:
        emit({"keys": [{**_shown(key), "holds": key.holds(now)} for key in found]})
        return
    header = ("begins", "name", "scopes", "sources", "rate", "created", "last used", "")
    rows = [
        (
            key.prefix,
            key.name,
            " ".join(key.scopes),
            " ".join(key.sources) or "any",
            "" if key.rate is None else f"{key.rate:g}/s",
            moment(key.created),
            moment(key.last_used) or "never",
            _state(key, now),
        )
        for key in found
    ]
    out = data()
    for line in table(header, rows):
        out.print(line, soft_wrap=True)


@app.command()
def rotate(
    name: Named,
    grace: Annotated[
        str, typer.Option("--grace", metavar="SPAN", help="How long the key before holds: 1h, 7d; 0h: not at all.")
    ] = "1d",
    actor: Actor = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a key in the place of the one of that name, with the same rights; the one before holds for a while."""
    length = span_of(grace, "--grace")
    with _keys(actor) as keys:
        key, text = keys.rotate(name, length)
    _tell(key, text, as_json)


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose keys, or how one of them begins.")],
    actor: Actor = None,
    as_json: JsonFlag = False,
) -> None:
    """Refuse every key of that name from now on, or the one that begins so: within seconds, wherever engage serves."""
    with _keys(actor) as keys:
        found = keys.revoke(name)
    if as_json:
        emit({"revoked": [_shown(key) for key in found]})
    else:
        typer.echo("\n".join(f"{key.prefix} of {key.name} is revoked" for key in found))


@contextmanager
def _keys(actor: str | None, *, make: bool = False) -> Iterator[ApiKeys]:
    from engage import bootstrap
    from engage.services.api_keys import ApiKeys
    from engage.services.platform import utc_now

    settings = bootstrap.settings()
    if not make and not bootstrap.has_access(settings):
        raise CommandFailedError("there are no API keys yet: `engage api-keys create` makes one", NOT_FOUND)
    store = bootstrap.access_store(settings)
    try:
        yield ApiKeys(store, who(actor), utc_now)
    finally:
        store.close()


def _tell(key: ApiKey, text: str, as_json: bool) -> None:
    """The key goes to standard output, and nothing else does: so it can be piped to where secrets are kept."""
    if as_json:
        emit({**_shown(key), "key": text})
        return
    said = ", ".join(key.scopes) + (f" as {', '.join(key.sources)}" if key.sources else "")
    until = "" if key.expires is None else f", until {moment(key.expires)} UTC"
    say(f"the key of {key.name} ({said}{until}); it is shown this once:")
    typer.echo(text)


def _shown(key: ApiKey) -> dict[str, Any]:
    from msgspec import structs

    return {"begins": key.prefix, **structs.asdict(key)}


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked is not None:
        return f"revoked {moment(key.revoked)}"
    if key.expires is None:
        return ""
    return f"{'until' if key.holds(now) else 'expired'} {moment(key.expires)}"
