"""``engage account``: one relationship on a page, with the events that made its health what it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from engage.cli.moments import back
from engage.cli.output import (
    SHORT_ID,
    JsonFlag,
    bar,
    data,
    emit,
    moment,
    show_below,
    table,
)

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console

    from engage.services.reading import Account, Health, TimelinePage
    from engage.settings import Settings
    from projections.shared.timeline import TimelineEntry

_STORY = 10
_BAR = 20
_STYLES = {"thriving": "bold green", "steady": "green", "slipping": "yellow", "at_risk": "bold red", "unknown": "dim"}


def account(
    account_id: Annotated[str, typer.Argument(metavar="ID", help="The account's id.")],
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="TIME", help="As it stood then: 2026-03-01, or 4h, 3d, 2w ago.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show how an account is doing, why, what is to be done, and what happened last."""
    from msgspec import structs

    from engage import bootstrap
    from engage.cli.door import must_exist
    from engage.services.known_accounts import NoSuchAccountError
    from engage.services.platform import utc_now
    from engage.services.reading import Reading

    settings = bootstrap.settings()
    must_exist(settings)
    if as_of is None:
        with bootstrap.reading_views(settings) as store:
            reading = Reading(store, utc_now)
            found, page = reading.account(account_id), reading.timeline(account_id, limit=_STORY)
    else:
        found, page = asyncio.run(_as_of(settings, account_id, back(as_of, "--as-of")))
    if found is None:
        raise NoSuchAccountError(account_id, then=as_of is not None)
    entries = page.entries if page else []
    if as_json:
        emit({**structs.asdict(found), "timeline": entries})
    else:
        _show(data(), found, entries)


async def _as_of(settings: Settings, name: str, moment: datetime) -> tuple[Account | None, TimelinePage | None]:
    from engage import bootstrap
    from engage.services.as_of import as_of
    from engage.services.platform import utc_now
    from engage.services.reading import WHOLE, Reading

    async with (
        bootstrap.readers(settings) as (log, store, _),
        as_of(log, WHOLE, moment, utc_now(), account=name, store=store) as then,
    ):
        reading = Reading(then, lambda: moment)
        return reading.account(name), reading.timeline(name, limit=_STORY)


def _show(out: Console, found: Account, entries: list[TimelineEntry]) -> None:
    from engage.cli.account_facts import facts

    out.print()
    out.print(f"{found.account}", style="bold", end="")
    out.print(f"   {found.kind or 'of unknown kind'}", style="dim")
    _show_health(out, found.health)
    out.print()
    for line in table((), facts(found)):
        out.print(line, soft_wrap=True)
    if found.follow_ups:
        _show_follow_ups(out, found)
    _show_story(out, entries)


def _show_health(out: Console, health: Health) -> None:
    from engage.services.explaining import course

    style = _STYLES[health.band]
    out.print()
    if health.score is None:
        out.print("health unknown: nothing that says how it goes has happened yet", style=style)
        return
    out.print(f"health {health.score:>5.0f}  ", end="")
    out.print(bar(health.score / 100, _BAR), style=style, end="")
    out.print(f"  {health.band.replace('_', ' ')}", style=style, end="")
    out.print(f"   confidence {health.confidence:.0%}, as of {moment(health.as_of)} UTC", style="dim")
    out.print(course(health))
    parts = [
        (
            one.component,
            f"{one.value:.0f}",
            bar(one.value / 100, 10),
            f"{one.weight:.0%} of it" if one.weight else "beside it",
        )
        for one in health.components
    ]
    for one, line in zip(health.components, table((), parts, right=(1, 3)), strict=True):
        out.print(f"\n{line}", soft_wrap=True)
        out.print(f"  {one.words}", soft_wrap=True)
        rows = [(f"{event.contribution:+.1f}", moment(event.time), event.type, event.event_id) for event in one.events]
        for row in table((), rows, right=(0,)):
            out.print(f"  {row}", style="dim", soft_wrap=True)
    if health.unknown:
        out.print(f"\nunknown: {', '.join(health.unknown)}", style="dim")


def _show_follow_ups(out: Console, found: Account) -> None:
    out.print("\nto be done", style="bold")
    rows = [
        (
            one.follow_up[:SHORT_ID],
            f"{'overdue since' if one.overdue else 'due'} {moment(one.due)}",
            one.priority,
            one.status,
            one.assignee or "",
        )
        for one in found.follow_ups
    ]
    for one, line in zip(found.follow_ups, table((), rows), strict=True):
        out.print(line, soft_wrap=True)
        show_below(out, f"{one.what}: {one.why}")


def _show_story(out: Console, entries: list[TimelineEntry]) -> None:
    from textwrap import wrap

    out.print("\nlately", style="bold")
    for entry in entries:
        when = moment(entry.time)
        below = " " * (len(when) + 2)
        for line in wrap(entry.summary, max(out.width, 40), initial_indent=f"{when}  ", subsequent_indent=below):
            out.print(line, soft_wrap=True)
