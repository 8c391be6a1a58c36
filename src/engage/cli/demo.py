"""``engage demo``: a music shop's year and a half, loaded as it was lived, to look at and to play with."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from engage.cli.output import USAGE, CommandFailedError, JsonFlag, data, emit, program, say, table
from engage.cli.progress import Progress
from engage.cli.up import GOODBYE, Port

if TYPE_CHECKING:
    from pathlib import Path

    from engage.demo.load import LoadClock, Plan
    from engage.demo.projecting import Beside
    from engage.services.overview import Overview
    from engage.services.platform import Platform
    from engage.settings import Settings

_OURS = ("log.db", "views.db", "keys.db", "relationships.db", "webhooks.db")
_BESIDE = ("", "-wal", "-shm")
_MARKER = "demo:now"
"""The loader's marker, set with its first step."""


def demo(
    once: Annotated[bool, typer.Option("--once", help="Load and tell, and do not serve.")] = False,
    as_json: JsonFlag = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin again: deletes what engage keeps in ENGAGE_HOME.")
    ] = False,
    port: Port = None,
    today: Annotated[
        datetime | None,
        typer.Option(
            "--today", metavar="DAY", formats=["%Y-%m-%d"], help="The history's last day, as 2026-03-01; else today."
        ),
    ] = None,
    scale: Annotated[
        float,
        typer.Option("--scale", metavar="SHARE", min=0.001, max=1.0, help="Which share of the customers, up to 1."),
    ] = 1.0,
) -> None:
    """Load the demo's history, tell what came of it, and serve it until Ctrl-C."""
    from engage import bootstrap
    from engage.cli import folding
    from engage.cli.listening import check_host, check_port
    from engage.cli.log_lines import log_to_stderr
    from engage.demo.load import LoadClock, Plan
    from engage.demo.projecting import Beside
    from engage.services.overview import read_overview
    from engage.services.platform import utc_now

    settings = bootstrap.settings()
    if settings.kafka or settings.views:
        raise CommandFailedError(
            "the demo lives in files of its own: unset ENGAGE_LOG and ENGAGE_VIEWS, and set ENGAGE_HOME if you like",
            USAGE,
        )
    check_host(settings)
    if not once:
        check_port(settings, port)
    log_to_stderr(settings)
    began = time.monotonic()
    now = utc_now()
    day = now.date() if today is None else today.date()
    if day > now.date():
        raise CommandFailedError(f"--today {day} lies ahead: the history ends today or earlier", USAGE)
    end = now if day == now.date() else datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC)
    _must_be_demo(settings)
    if fresh:
        _delete(settings)

    async def run(beside: Beside) -> None:
        clock = LoadClock(utc_now)
        async with bootstrap.platform(settings, clock=clock, folding=folding.command(settings)) as platform:
            await _load(platform, clock, Plan(day, end, scale), beside)
            found = read_overview(platform.store, clock())
            events = sum([await platform.log.end(one) for one in range(platform.log.partitions)])
            seconds = round(time.monotonic() - began, 1)
            if as_json:
                emit(
                    {
                        "events": events,
                        "accounts": found.accounts,
                        "follow_ups": found.follow_ups,
                        "health": found.health,
                        "seconds": seconds,
                    }
                )
            else:
                _show(found, events, seconds)
            if not once:
                from engage.cli.serving import serve  # what it brings, those that load have no use for

                example = _example(platform)
                await serve(platform, settings, port, lambda url: _where(url, example, program(settings)))

    with Beside(settings.home_path) as beside:
        asyncio.run(run(beside))
    if not once:
        say(GOODBYE)


async def _load(platform: Platform, clock: LoadClock, plan: Plan, beside: Beside) -> None:
    from engage.demo.load import begun, is_loaded, load

    assert platform.embedded is not None, "the demo is embedded"
    if is_loaded(platform.embedded.log):
        found = await load(platform, clock, plan, beside=beside)
        say(f"the demo is loaded already, up to {found.today} ({found.scale:.0%} of it); --fresh begins again")
        return
    if going_on := begun(platform.embedded.log):
        ignored = (
            " (--scale and --today of now do not count)"
            if (going_on.today, going_on.scale) != (plan.today, plan.scale)
            else ""
        )
        say(
            f"a load that was interrupted goes on: up to {going_on.today}, {going_on.scale:.1%} of the customers"
            f"{ignored}; --fresh begins again"
        )
    with ExitStack() as stack:
        progress = stack.enter_context(Progress("loading the demo"))
        folding: Progress | None = None

        def show(done: int, total: int) -> None:
            progress.to(done, f"{done:,} events", total=total)

        def show_folding(done: int, total: int) -> None:
            nonlocal folding
            if folding is None:
                stack.close()  # a terminal shows one bar at a time
                folding = stack.enter_context(Progress("folding the read models"))
            folding.to(done, f"{done:,} records", total=total)

        await load(platform, clock, plan, show, show_folding, beside)


def _must_be_demo(settings: Settings) -> None:
    """CommandFailedError where the folder holds a log of somebody's own: a demo must not mix with it, or delete it."""
    from engage import bootstrap
    from engage.log.sqlite import SqliteLog

    path = bootstrap.log_path(settings)
    if not path.exists():
        return
    log = SqliteLog(path, read_only=True)
    try:
        holds = any(next(log.scan(partition, limit=1), None) for partition in range(log.partitions))
        if holds and not log.marker(_MARKER):
            raise CommandFailedError(
                f"{settings.home_path} holds a log that is not the demo's: set ENGAGE_HOME to another folder"
            )
    finally:
        log.close()


def _delete(settings: Settings) -> None:
    """Remove engage's own files from its folder, which nobody may own meanwhile; FolderOwnedError if somebody does."""
    import shutil

    from engage import bootstrap
    from engage.services.owner import Owner

    with Owner(settings.home_path):
        for path in _own_files(settings.home_path):
            path.unlink(missing_ok=True)
        shutil.rmtree(bootstrap.snapshots(settings).folder, ignore_errors=True)


def _own_files(home: Path) -> list[Path]:
    return [home / (name + beside) for name in _OURS for beside in _BESIDE] + [home / "master.key"]


def _show(found: Overview, events: int, seconds: float) -> None:
    out = data()
    out.print(f"\n{events:,} events, {found.accounts:,} accounts, in {seconds:g} s\n")
    out.print("health: " + ", ".join(f"{count:,} {band.replace('_', ' ')}" for band, count in found.health.items()))
    rows = [
        (rule, f"{sum(outcomes.values()):,}", f"{outcomes.get('open', 0):,}")
        for rule, outcomes in found.follow_ups.items()
    ]
    out.print()
    for line in table(("follow-ups by rule", "asked for", "open"), rows, right=(1, 2)):
        out.print(line, soft_wrap=True)


def _example(platform: Platform) -> str:
    """An account worth a look: a partner that something is to be done about, for there is most to see of one."""
    from engage.services.reading import Reading

    waiting = [one.account for one in Reading(platform.store, platform.clock).follow_ups("open")]
    partners = [account for account in waiting if not account.startswith("cdnow-")]
    return (partners or waiting or ["cdnow-00001"])[0]


def _where(url: str, example: str, command: str) -> None:
    say(f"\nengage serves at {url} (Ctrl-C ends it); look at {url}/docs and {url}/v1/follow-ups")
    say("three commands to try in another terminal:")
    say(f"  {command} account {example}")
    say(f"  {command} follow-ups --limit 10")
    say(f"  {command} status")
