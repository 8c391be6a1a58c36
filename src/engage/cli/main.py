"""``engage``: every command in one place; what a command needs is imported when it runs, so that help is quick."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from engage.cli import (
    api_keys,
    benchmark,
    dead_letters,
    follow_ups,
    hooks,
    imports,
    links,
    log,
    projections,
    rules,
    sealing_keys,
    snapshots,
    topics,
    webhooks,
    worker,
)
from engage.cli.account import account
from engage.cli.as_of import as_of, replay
from engage.cli.audit import audit
from engage.cli.demo import demo
from engage.cli.doctor import doctor
from engage.cli.errors import Commands
from engage.cli.export import export
from engage.cli.identities import link, unlink
from engage.cli.privacy import access, erase
from engage.cli.publish import publish
from engage.cli.restore import restore
from engage.cli.status import status
from engage.cli.up import up
from engage.cli.views import views
from engage.cli.what_if import what_if
from engage.interpreter import tune

app = typer.Typer(
    cls=Commands,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused in part, 4 not found, 130 interrupted. "
    "Each option has an environment variable: see docs/command-line.md.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"engage {version('engage-platform')}")
        raise typer.Exit


@app.callback()
def engage(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Relationships with customers and partners, event by event. Data lives in ENGAGE_HOME (./engage-data)."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


for command in (
    demo,
    up,
    publish,
    status,
    doctor,
    account,
    views,
    what_if,
    as_of,
    replay,
    access,
    erase,
    link,
    unlink,
    export,
    restore,
    audit,
):
    app.command()(command)
app.add_typer(imports.app, name="import")
app.add_typer(follow_ups.app, name="follow-ups")
app.add_typer(log.app, name="log")
app.add_typer(api_keys.app, name="api-keys")
app.add_typer(sealing_keys.app, name="sealing-keys")
app.add_typer(projections.app, name="projections")
app.add_typer(snapshots.app, name="snapshots")
app.add_typer(rules.app, name="rules")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(links.app, name="links")
app.add_typer(hooks.app, name="hooks")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(worker.app, name="worker")
app.add_typer(topics.app, name="topics")
app.add_typer(benchmark.app, name="benchmark")


def main() -> None:
    """Run the command line."""
    tune()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A terminal that cannot show a letter gets its code, and the command goes on.
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="engage")
