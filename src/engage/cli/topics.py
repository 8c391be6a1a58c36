"""``engage topics``: the Kafka topics of a log, made and checked."""

from __future__ import annotations

import asyncio

import typer

from engage.cli.output import USAGE, CommandFailedError, JsonFlag, emit

app = typer.Typer(no_args_is_help=True, help="The Kafka topics of the log.")


@app.command()
def create(as_json: JsonFlag = False) -> None:
    """Make the topics that are missing (ENGAGE_PARTITIONS, ENGAGE_REPLICATION) and check all; changes none."""
    _topics(make=True, as_json=as_json)


@app.command()
def check(as_json: JsonFlag = False) -> None:
    """Say whether the topics are laid out as the log needs them."""
    _topics(make=False, as_json=as_json)


def _topics(*, make: bool, as_json: bool) -> None:
    from engage import bootstrap
    from engage.log.topics import check_topics, create_topics

    settings = bootstrap.settings()
    if not settings.kafka:
        raise CommandFailedError("topics are Kafka's: set ENGAGE_LOG=kafka://host:port", USAGE)
    topics = bootstrap.topics(settings)
    if make:
        made = create_topics(settings.kafka, settings.partitions, settings.replication, topics=topics)
        layout = asyncio.run(made)
    else:
        layout = asyncio.run(check_topics(settings.kafka, topics))
    if as_json:
        emit({"topics": topics.all, "partitions": layout.partitions, "generation": layout.generation})
    else:
        typer.echo(f"{', '.join(topics.all)}: {layout.partitions} partitions each, log {layout.generation}")
