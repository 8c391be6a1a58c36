"""``engage doctor``: what is wrong here, and what to do about it; it changes nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from engage.cli.output import FAILED, JsonFlag, data, emit

if TYPE_CHECKING:
    from engage.services.doctor import Finding
    from engage.settings import Settings

_MARKS = {"well": ("ok", "green"), "warning": ("warning", "yellow"), "fault": ("FAULT", "bold red")}


def doctor(as_json: JsonFlag = False) -> None:
    """Look for the usual faults and name the remedy of each. Exit code 1: there is a fault; warnings are none."""
    from engage import bootstrap
    from engage.cli.door import must_exist

    settings = bootstrap.settings()
    must_exist(settings)
    findings = asyncio.run(_examined(settings))
    if as_json:
        emit({"findings": findings})
    else:
        _show(findings)
    if any(one.state == "fault" for one in findings):
        raise typer.Exit(FAILED)


async def _examined(settings: Settings) -> list[Finding]:
    from engage import bootstrap, compiled
    from engage.log.sqlite import SqliteLog
    from engage.services import doctor
    from engage.services.configuration import ConfigurationError
    from engage.services.owner import find_owner
    from engage.services.status import next_wake, read_status
    from streams import RULES

    findings = [doctor.Finding("engine", "well", f"it runs {compiled.told()}"), *doctor.of_folder(settings.home_path)]
    try:
        bootstrap.rules(settings)
        models = bootstrap.read_models(settings)
    except ConfigurationError as error:
        return [*findings, doctor.Finding("settings", "fault", str(error), "mend the file")]
    findings.append(doctor.Finding("settings", "well", "rules and segments can be read"))
    try:
        async with bootstrap.readers(settings) as (log, store, relationships):
            status = await read_status(
                log,
                store,
                relationships,
                models,
                home=settings.home_path,
                owner=find_owner(settings.home_path),
                next_wake=next_wake(log, RULES) if isinstance(log, SqliteLog) else None,
            )
            now = datetime.now(UTC)
            standing = store.standing() if store else None
            findings.append(await doctor.of_log(log, standing, status))
            findings += doctor.of_clock(status, now, store.database.now() if store else None)
            embedded = not settings.kafka
            findings += doctor.of_work(status, now, embedded=embedded)
            findings += doctor.of_views(status, standing, models, store, embedded=embedded)
    except Exception as error:
        if not type(error).__module__.startswith("engage"):
            raise
        findings.append(doctor.Finding("log and stores", "fault", str(error), "do as it says, then ask again"))
    return findings


def _show(findings: list[Finding]) -> None:
    out = data()
    width = max(len(one.about) for one in findings)
    for one in findings:
        mark, style = _MARKS[one.state]
        out.print(f"{mark:<8}", style=style, end="")
        out.print(f"{one.about:<{width}}  {one.words}", soft_wrap=True)
        if one.remedy:
            out.print(f"{'':<8}{'':<{width}}  → {one.remedy}", style="dim", soft_wrap=True)
