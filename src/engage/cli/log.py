"""``engage log``: look into the log itself, also beside a running process; it changes nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

import typer

from engage.cli import completing
from engage.cli.moments import between
from engage.cli.output import NOT_FOUND, USAGE, CommandFailedError, JsonFlag, data, emit, moment, say, table

if TYPE_CHECKING:
    from rich.console import Console

    from engage.events.envelope import Event
    from engage.log.contract import Log
    from engage.services.causation import Chain
    from engage.services.log_search import Wanted

app = typer.Typer(no_args_is_help=True, help="The log itself: what was recorded, when, and what led to what.")

T = TypeVar("T")

_PLACE = re.compile(r"(\d{1,4}):(\d{1,15})")
_WAIT_SECONDS = 60.0
_PATIENCE = 2.0
"""Seconds after which a look through the log tells how far it is."""

Account = Annotated[str | None, typer.Option("--account", metavar="ID", help="Only of this account.")]
Types = Annotated[
    list[str] | None,
    typer.Option(
        "--type",
        metavar="TYPE",
        help="Only of this type; say it again for more.",
        autocompletion=completing.event_types,
    ),
]
Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="Recorded then or later: 2026-03-01, or 4h, 3d, 2w ago.")
]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Recorded before then.")]
Correlation = Annotated[
    str | None, typer.Option("--correlation", metavar="ID", help="Only what carries this correlation id.")
]
Lines = Annotated[bool, typer.Option("--json", help="The events themselves, one JSON object a line.")]


@app.command()
def tail(
    number: Annotated[int, typer.Option("-n", "--number", min=0, help="How many.")] = 20,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as records come, until Ctrl-C.")] = False,
    account: Account = None,
    types: Types = None,
    as_json: Lines = False,
) -> None:
    """Show the newest records, in the order in which they were recorded."""
    from engage.services.known_types import types_must_be_known
    from engage.services.log_search import newest

    wanted = _wanted(account=account, types=types)

    async def run(log: Log) -> None:
        ends = {partition: await log.end(partition) for partition in range(log.partitions)}
        if not follow:  # who follows may wait for the first one
            await types_must_be_known(log, wanted.types)
        for event in await newest(log, wanted, number) if number else ():
            _line(event, as_json)
        while follow:
            await log.wait(ends, _WAIT_SECONDS)
            for event in await _came(log, wanted, ends):
                _line(event, as_json)

    try:
        _on_log(run)
    except KeyboardInterrupt:
        if not follow:
            raise


@app.command()
def find(
    account: Account = None,
    types: Types = None,
    since: Since = None,
    until: Until = None,
    correlation: Correlation = None,
    event_id: Annotated[str | None, typer.Option("--id", metavar="ID", help="Only events of this id.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="No more than so many.")] = 1_000,
    as_json: Lines = False,
) -> None:
    """Show the records that fit all that is asked, in the order in which they were recorded. Exit code 4: none."""
    from engage.cli.progress import Progress
    from engage.services import log_search
    from engage.services.known_types import types_must_be_known

    wanted = _wanted(account, types, since, until, correlation, event_id)

    async def run(log: Log) -> int:
        found = 0
        await types_must_be_known(log, wanted.types)
        with Progress("looking", patience=_PATIENCE) as bar:
            found_in = log_search.find(log, wanted, lambda done, of: bar.to(done, total=of))
            async with aclosing(found_in) as events:
                async for event in events:
                    _line(event, as_json)
                    found += 1
                    if found == limit:
                        say(f"that is as many as --limit lets through ({limit:,}); there may be more")
                        break
        return found

    if not _on_log(run):
        raise CommandFailedError("nothing on the log fits all of that: leave a condition out, or widen it", NOT_FOUND)


@app.command()
def count(
    by: Annotated[str, typer.Option("--by", metavar="WHAT", help="type, account, source, day or partition.")] = "type",
    account: Account = None,
    types: Types = None,
    since: Since = None,
    until: Until = None,
    correlation: Correlation = None,
    as_json: JsonFlag = False,
) -> None:
    """Count the records that fit all that is asked."""
    from engage.cli.progress import Progress
    from engage.services import log_search
    from engage.services.known_types import types_must_be_known

    known = get_args(log_search.Dimension)
    if by not in known:
        raise CommandFailedError(f"--by {by!r} is nothing to count by: there are {', '.join(known)}", USAGE)
    wanted = _wanted(account, types, since, until, correlation)

    async def run(log: Log) -> list[tuple[str, int]]:
        await types_must_be_known(log, wanted.types)
        with Progress("counting", patience=_PATIENCE) as bar:
            return await log_search.count(log, wanted, by, lambda done, of: bar.to(done, total=of))  # type: ignore[arg-type]

    counted = _on_log(run)
    if as_json:
        emit({"by": by, "counts": dict(counted), "total": sum(number for _, number in counted)})
        return
    rows = [(name, f"{number:,}") for name, number in counted]
    for line in table((by, "records"), [*rows, ("all", f"{sum(number for _, number in counted):,}")], right=(1,)):
        data().print(line, soft_wrap=True)


@app.command()
def show(
    named: Annotated[str, typer.Argument(metavar="PLACE|ID", help="partition:offset, or the event's id.")],
    account: Account = None,
    as_json: JsonFlag = False,
) -> None:
    """Show one record whole, and the tree of what led to it and what it led to.

    What is personal stays sealed, as it is on the log.
    """
    from engage.services.causation import chain_of

    async def run(log: Log) -> tuple[Event[Any], Chain]:
        event = await _named(log, named, account)
        return event, await chain_of(log, event)

    event, chain = _on_log(run)
    if as_json:
        emit({"record": _whole(event), "chain": _tree(chain)})
    else:
        _show(data(), event, chain)


def _wanted(
    account: str | None = None,
    types: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    correlation: str | None = None,
    event_id: str | None = None,
) -> Wanted:
    from engage.services.log_search import Wanted

    first, last = between(since, until)
    return Wanted(
        account=account,
        types=tuple(types or ()),
        since=first,
        until=last,
        correlation=correlation,
        id=event_id,
    )


def _on_log(work: Callable[[Log], Awaitable[T]]) -> T:
    from engage import bootstrap
    from engage.cli.door import must_exist

    settings = bootstrap.settings()
    must_exist(settings)

    async def run() -> T:
        async with bootstrap.readers(settings) as (log, _, _):
            return await work(log)

    return asyncio.run(run())


async def _came(log: Log, wanted: Wanted, ends: dict[int, int]) -> list[Event[Any]]:
    """What was recorded behind ``ends``, which move up to where the log ends now."""
    from msgspec import structs

    from engage.services.log_search import newest, order

    found = []
    for partition, end in list(ends.items()):
        ends[partition] = await log.end(partition)
        if (more := ends[partition] - end) > 0:
            here = await newest(log, structs.replace(wanted, partition=partition), more)
            found += [event for event in here if event.offset >= end]
    return sorted(found, key=order)


async def _named(log: Log, named: str, account: str | None) -> Event[Any]:
    from engage.cli.progress import Progress
    from engage.services import log_search

    if place := _PLACE.fullmatch(named):
        event = await log_search.at(log, int(place[1]), int(place[2]))
        if event is None:
            raise CommandFailedError(f"there is no record {named}: `engage log tail` shows the last ones", NOT_FOUND)
        return event
    with Progress("looking", patience=_PATIENCE) as bar:
        wanted = log_search.Wanted(id=named, account=account)
        found = [one async for one in log_search.find(log, wanted, lambda done, of: bar.to(done, total=of))]
    if not found:
        raise CommandFailedError(
            f"no event on the log has the id {named!r}: `engage log find --account …` lists what is there", NOT_FOUND
        )
    if len(found) > 1:
        places = ", ".join(f"{_place(one)} ({one.subject})" for one in found)
        raise CommandFailedError(f"several events have the id {named!r}: name its place, one of {places}", USAGE)
    return found[0]


def _line(event: Event[Any], as_json: bool) -> None:
    import msgspec

    if as_json:
        typer.echo(msgspec.json.encode(_whole(event)))
    else:
        line = f"{moment(event.now)}  {_place(event):>9}  {event.subject:<16}  {_words(event)}"
        data().print(line, soft_wrap=True)


def _whole(event: Event[Any]) -> dict[str, Any]:
    """The event as CloudEvents write it, and its place."""
    import msgspec

    shape: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(event))
    return shape


def _words(event: Event[Any]) -> str:
    """What happened, in the words of the timeline; they name no person."""
    from copy import copy

    from engage.events import codec
    from projections.shared.summaries import SUMMARIES

    try:
        opened = codec.open_data(copy(event))
    except Exception:  # of a type that we do not know, or as it cannot be read any more: its name says enough
        return event.type
    said = SUMMARIES.get(type(opened.data))
    return event.type if said is None else f"{event.type}: {said(opened.data)}"


def _place(event: Event[Any]) -> str:
    return f"{event.partition}:{event.offset}"


def _show(out: Console, event: Event[Any], chain: Chain) -> None:
    import msgspec
    from rich.tree import Tree

    shape = _whole(event)
    told = shape.pop("data", None)
    for line in table((), [(name, str(value)) for name, value in shape.items()]):
        out.print(line, soft_wrap=True)
    out.print(msgspec.json.format(msgspec.json.encode(told), indent=2).decode(), soft_wrap=True)
    if not chain.led_to:
        return
    out.print()
    tree = Tree(_branch(chain, event))
    waiting = [(tree, chain)]
    while waiting:
        below, one = waiting.pop()
        waiting += [(below.add(_branch(more, event)), more) for more in one.led_to]
    out.print(tree)


def _branch(chain: Chain, event: Event[Any]) -> str:
    one = chain.event
    mark = "  ◀" if _place(one) == _place(event) else ""
    return f"{moment(one.now)}  {_place(one)}  {_words(one)}{mark}"


def _tree(chain: Chain) -> dict[str, Any]:
    """The chain as JSON: places, ids and types, cause above effect."""
    one = chain.event
    shown = {"place": _place(one), "id": one.id, "type": one.type, "recorded": one.now}
    return {**shown, "led_to": [_tree(more) for more in chain.led_to]}
