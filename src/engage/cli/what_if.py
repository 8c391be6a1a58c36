"""``engage what-if``: history folded with other rules, settings or weights, and what would have been different."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engage.cli import completing
from engage.cli.moments import between
from engage.cli.output import USAGE, CommandFailedError, JsonFlag, data, emit, moment, say, table

if TYPE_CHECKING:
    from rich.console import Console

    from engage.rules.what_if import Decided
    from engage.services.what_if import WhatIf
    from engage.services.what_if_health import Shift

_HEALTH = "health."


def what_if(
    rules: Annotated[
        list[Path] | None,
        typer.Option("--rules", metavar="PATH", help="A Python file of rules, a folder, or a TOML file of settings."),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="rules.win-back.at_least=45d, or health.support.weight=2.",
            autocompletion=completing.settings,
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Compare from then on: 2026-03-01, or 3d, 2w ago.")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Compare what was before then.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="List at most so many changes.")] = 20,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a report there as well.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Fold the log with other rules or settings, and show which follow-ups would have been different.

    The decisions on the log are passed over, and both ways are folded anew. Nothing is appended and nothing is sent.
    """
    from engage import bootstrap
    from engage.cli.door import must_exist
    from engage.cli.progress import Progress
    from engage.services import what_if_health, what_if_report
    from engage.services.platform import utc_now
    from engage.services.supposing import Supposed
    from engage.services.what_if import what_if as suppose

    paths, texts = [str(path) for path in rules or ()], sets or []
    if not paths and not texts:
        raise CommandFailedError("nothing is supposed: say --set rules.win-back.at_least=45d, or --rules PATH", USAGE)
    settings = bootstrap.settings()
    must_exist(settings)
    from_, to = between(since, until, ("--from", "--to"))
    if html is not None and (html.is_dir() or not os.access(html.parent, os.W_OK)):
        raise CommandFailedError(f"--html {html}: no file can be written there, name another", USAGE)
    now = utc_now()
    components = what_if_health.reweighed([text for text in texts if text.startswith(_HEALTH)])
    supposed = Supposed(tuple(paths), tuple(text for text in texts if not text.startswith(_HEALTH)))
    with Progress("folding the log both ways", patience=1) as bar:
        found = suppose(
            partial(bootstrap.reading_log, settings),
            partial(bootstrap.rules, settings),
            supposed,
            now,
            since=from_,
            until=to,
            progress=lambda done, of: bar.to(done, total=of),
        )
    health = None
    if len(supposed.settings) < len(texts):
        with bootstrap.reading_views(settings) as store:
            health = what_if_health.shift(store, components, now)
    if html is not None:
        html.write_text(what_if_report.page(found, [*paths, *texts], now, health), encoding="utf-8")
        say(f"the report is in {html}")
    if as_json:
        emit({"supposed": [*paths, *texts], "follow_ups": found, "health": health})
    else:
        _show(data(), found, health, limit)


def _show(out: Console, found: WhatIf, health: Shift | None, limit: int) -> None:
    rows = [
        (
            one.rule,
            f"{one.before:,}",
            f"{one.after:,}",
            ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in one.differences.items()),
        )
        for one in found.rules
        if one.differences
    ]
    same = len(found.rules) - len(rows)
    if same:
        before, after = _asked_by_the_same(found)
        rows.append((f"{same} others", f"{before:,}", f"{after:,}", "none"))
    for line in table(("rule", "as it is", "what if", "difference"), rows, right=(1, 2)):
        out.print(line, soft_wrap=True)
    if limit and found.changes:
        out.print()
        listed = []
        for change in found.changes[:limit]:
            one = change.after or change.before
            assert one is not None, "a change is of something"
            name = change.difference.replace("_", " ")
            listed.append((one.account, one.rule, one.about, name, _words(change.before), _words(change.after)))
        for line in table(("account", "rule", "about", "difference", "as it is", "what if"), listed):
            out.print(line, soft_wrap=True)
        if len(found.changes) > limit:
            out.print(f"… and {len(found.changes) - limit:,} more: --limit, --json or --html shows them", style="dim")
    if health is not None:
        _show_health(out, health)


def _asked_by_the_same(found: WhatIf) -> tuple[int, int]:
    """What the rules that do not differ ask for, before and after."""
    same = [one for one in found.rules if not one.differences]
    return sum(one.before for one in same), sum(one.after for one in same)


def _show_health(out: Console, health: Shift) -> None:
    out.print(
        f"\nhealth: {health.moved:,} of {health.accounts:,} scores move by a point or more, "
        f"by {health.mean:+.2f} points on average over all"
    )
    for line in table(
        (), [(change.replace("_", " "), f"{count:,}") for change, count in health.bands.items()], right=(1,)
    ):
        out.print(line, soft_wrap=True)


def _words(one: Decided | None) -> str:
    if one is None:
        return ""
    return moment(one.at) + (f" skipped ({one.reason})" if one.reason else "")
