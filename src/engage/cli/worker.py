"""``engage worker``: one running part of engage as a process of its own, where the log is Kafka's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from engage.cli.output import USAGE, CommandFailedError, JsonFlag, emit, say

if TYPE_CHECKING:
    from engage.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Run one part of engage, where the log is on Kafka.")


@app.command()
def intake() -> None:
    """Take what arrives in the inbox onto the log, until SIGTERM or Ctrl-C."""
    from engage import bootstrap
    from engage.log.topics import Topics
    from engage.services.kafka_intake import run_intake

    settings = _kafka_settings()

    async def work(stop: asyncio.Event) -> None:
        keys = bootstrap.key_store(settings)
        try:
            await run_intake(
                settings.kafka or "",
                keys,
                stop,
                topics=Topics(settings.topics),
                window=timedelta(days=settings.window_days),
                folder=settings.home_path,
            )
        finally:
            keys.close()

    _run("intake", settings, work)


@app.command()
def projections() -> None:
    """Keep the read models up to the log and feed their topics, until SIGTERM or Ctrl-C.

    Run as many as there are partitions at most: they share them.
    """
    from engage import bootstrap
    from engage.cli.log_lines import log_to_stderr
    from engage.log.topics import check_topics
    from engage.services.gauges import told_to_prometheus
    from engage.services.projection_worker import LANES, ProjectionWorker

    settings = _kafka_settings()

    async def work(stop: asyncio.Event) -> None:
        topics = bootstrap.topics(settings)
        await check_topics(settings.kafka or "", topics)
        async with bootstrap.platform(settings) as platform:
            with told_to_prometheus(platform, settings.home_path):
                worker = ProjectionWorker(platform, settings.kafka or "", topics, platform.clock, forks=forks)
                await worker.run(stop)

    with bootstrap.folding_forks(settings, LANES, partial(log_to_stderr, settings)) as forks:
        _run("projections", settings, work)


@app.command()
def desk() -> None:
    """Open what rules ask for, expire what is late, relay what people do, send webhooks; until SIGTERM or Ctrl-C."""
    settings = _kafka_settings()
    _run("desk", settings, lambda stop: _turns(settings, stop))


@app.command()
def streams(
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Send a synthetic account (engage-check-…, it stays on the log) through the workers that run, "
            "say how long it took, and end.",
        ),
    ] = False,
    seconds: Annotated[float, typer.Option(metavar="N", help="How long --check waits.")] = 30.0,
    as_json: JsonFlag = False,
) -> None:
    """Intake and rules as Faust workers share them, until SIGTERM or Ctrl-C: run as many as there are partitions.

    It does what `worker intake` does too: run one or the other. Both at once lose nothing and double nothing, but each
    ends the other, again and again.
    """
    settings = _kafka_settings()
    if check:
        _check(settings, seconds, as_json)
        return
    from engage import bootstrap
    from engage.cli.log_lines import log_to_stderr
    from engage.log.topics import Topics, check_topics
    from streams.worker import make_app, run

    log_to_stderr(settings)
    asyncio.run(check_topics(settings.kafka or "", Topics(settings.topics)))
    made = make_app(settings)
    say(f"streams works on the log {settings.topics!r} at {settings.kafka}")
    with bootstrap.traces("streams"):
        run(made)


def _check(settings: Settings, seconds: float, as_json: bool) -> None:
    from engage.log.topics import Topics
    from engage.services.streams_check import check

    checked = asyncio.run(check(settings.kafka or "", Topics(settings.topics), seconds=seconds))
    if as_json:
        emit(msgspec.structs.asdict(checked))
    else:
        typer.echo(
            f"{checked.account}: on the log after {checked.event_on_log:.0f} ms, decision in the inbox after "
            f"{checked.decision_in_inbox:.0f} ms, on the log after {checked.decision_on_log:.0f} ms"
        )


def _kafka_settings() -> Settings:
    from engage import bootstrap
    from engage.services.moving.unfinished import must_not_be_restoring

    settings = bootstrap.settings()
    if not settings.kafka:
        raise CommandFailedError(
            "workers share a log on Kafka: set ENGAGE_LOG=kafka://host:port; with a log in a file, `engage up` is all",
            USAGE,
        )
    must_not_be_restoring(settings.home_path)
    return settings


def _run(name: str, settings: Settings, work: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    from engage import bootstrap
    from engage.cli.log_lines import log_to_stderr
    from engage.cli.running import on_signals
    from engage.services import metrics

    log_to_stderr(settings)
    metrics.serve(settings.metrics_port)

    async def run() -> None:
        stop = asyncio.Event()
        with on_signals(stop.set):
            say(f"{name} works on the log {settings.topics!r} at {settings.kafka}")
            await work(stop)

    with bootstrap.traces(name):
        asyncio.run(run())
    say(f"{name} ended")


async def _turns(settings: Settings, stop: asyncio.Event) -> None:
    from engage import bootstrap
    from engage.services.gauges import told_to_prometheus
    from engage.services.turns import Turns

    async with bootstrap.platform(settings) as platform:
        with told_to_prometheus(platform, settings.home_path):
            await Turns(platform.log, {"desk": platform.work, "webhooks": platform.tell}).run(stop)
