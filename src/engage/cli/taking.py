"""Bringing a file in: the progress while it is read, what is said of it at the end, and what is left for a retry."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import msgspec
import typer
from msgspec import Raw, Struct, structs

from engage.cli.output import INTERRUPTED, REFUSED, USAGE, CommandFailedError, emit, say
from engage.cli.progress import Progress
from engage.client import Client
from engage.events.catalogue import CATALOGUE
from engage.events.envelope import Event
from engage.events.validation import Refusal
from engage.log.contract import Answer
from engage.services.importer import Summary, load
from engage.services.lines import STDIN, Line, LineFault, open_input, read_lines
from engage.services.mapping_check import did_you_mean
from engage.services.platform import BATCH, Platform

if TYPE_CHECKING:
    from engage.cli.door import Publish


class _Typed(Struct, gc=False):
    type: str


_typed = msgspec.json.Decoder(_Typed).decode


class Taken(Struct):
    """What became of a file called ``name``, beyond the summary's counts."""

    name: str
    summary: Summary
    interrupted: bool = False
    unknown_types: Counter[str] = msgspec.field(default_factory=Counter)
    refused_lines: set[int] = msgspec.field(default_factory=set)


class _Items:
    """What is read from a file, until it ends or an interrupt ends it: at once, but never within a transaction."""

    def __init__(self, items: Iterable[Line | LineFault]) -> None:
        self._items = iter(items)
        self._reading = False
        self.interrupted = False

    def __iter__(self) -> Iterator[Line | LineFault]:
        return self

    def __next__(self) -> Line | LineFault:
        if self.interrupted:
            raise StopIteration
        try:
            self._reading = True
            return next(self._items)
        except KeyboardInterrupt:
            raise StopIteration from None
        finally:
            self._reading = False

    def interrupt(self, _number: int, _frame: FrameType | None) -> None:
        """End the reading; who interrupts twice does not want to wait for the rest either."""
        again, self.interrupted = self.interrupted, True
        if self._reading or again:
            raise KeyboardInterrupt


def opened_input(name: str) -> BufferedReader:
    """The file called ``name``; CommandFailedError, as wrong use, if it cannot be read."""
    try:
        return open_input(name)
    except OSError as error:
        raise CommandFailedError(f"{name}: {error.strerror}: check the name and what you may read", USAGE) from error


async def take(name: str, file: BufferedReader, items: Iterable[Line | LineFault], publish: Publish) -> Taken:
    """Publish what is read from ``file``; progress is told by how much of it has been read."""
    size = os.fstat(file.fileno()).st_size

    def told(progress: Progress, summary: Summary) -> None:
        if file.seekable():
            progress.to(min(file.tell(), size), _words(summary))

    return await _take(name, size, items, publish, told)


async def take_all(name: str, items: list[Line | LineFault], publish: Publish) -> Taken:
    """Publish items that are read already; progress is told by how many are done."""

    def told(progress: Progress, summary: Summary) -> None:
        progress.to(summary.taken + summary.duplicates + summary.refused, _words(summary))

    return await _take(name, len(items), items, publish, told)


async def _take(
    name: str,
    total: int,
    items: Iterable[Line | LineFault],
    publish: Publish,
    told: Callable[[Progress, Summary], None],
) -> Taken:
    taken = Taken(name, Summary())

    async def counting(events: Sequence[bytes | Event[Raw]]) -> list[Answer]:
        answers = await publish(events)
        for event, answer in zip(events, answers, strict=True):
            if not isinstance(answer, Refusal) and isinstance(event, bytes):
                kind = _typed(event).type
                if kind not in CATALOGUE:
                    taken.unknown_types[kind] += 1
        return answers

    read = _Items(items)
    with Progress(name, total) as progress, _on_interrupt(read.interrupt):
        taken.summary = await load(
            read, counting, progress=lambda summary: told(progress, summary), refused=taken.refused_lines.add
        )
    taken.interrupted = read.interrupted
    return taken


async def settle(door: Platform | Client, taken: Taken) -> None:
    """Bring the read models to the log's end, so that what came in can be read; or say what is left."""
    if not isinstance(door, Platform) or door.embedded is None:
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if taken.interrupted:
            raise KeyboardInterrupt
        taken.interrupted = True

    with _on_interrupt(interrupt):
        # In small steps, so that an interrupt need not wait for all of it.
        while not taken.interrupted and await door.work():
            pass
        while not taken.interrupted and await door.projector.step(BATCH):
            pass
    behind: Counter[str] = Counter()
    for lag in await door.projector.lag():
        behind[lag.projection] += 0 if lag.paused else lag.behind
    if most := max(behind.values(), default=0):
        say(f"the read models are up to {most:,} records behind: `engage up` or the next publish makes up for it")


def write_rejects(path: Path | None, file: str, taken: Taken, *, header: bool = False) -> None:
    """Write the lines of ``file`` that were refused to ``path``, the first line of a table (``header``) before them."""
    if path is None or not taken.refused_lines:
        return
    wanted = taken.refused_lines | ({1} if header else set())
    with open_input(file) as opened, path.open("wb") as out:
        for line in read_lines(opened):
            if isinstance(line, Line) and line.number in wanted:
                out.write(line.value + b"\n")
    say(f"the refused lines are in {path}: mend them there, then bring that file in")


def check_rejects(path: Path | None, file: str) -> None:
    """CommandFailedError where refused lines could not be read a second time."""
    if path is not None and file == STDIN:
        raise CommandFailedError("--rejects needs a file: standard input cannot be read a second time", USAGE)
    if path is not None and path.exists() and Path(file).exists() and path.samefile(file):
        raise CommandFailedError("--rejects is the file itself: name another one", USAGE)


def report(taken: Taken, as_json: bool) -> None:
    """Say what became of a file; exit with 3 if something was refused, with 130 if it was interrupted."""
    summary = taken.summary
    faults = sorted(summary.faults, key=lambda fault: (not fault.of_file, fault.number))
    for fault in faults:
        say(f"{taken.name}, {fault}")
    if summary.unlisted:
        say(f"and {summary.unlisted:,} more were refused: --rejects FILE writes them all")
    for name, count in taken.unknown_types.most_common():
        say(f"{count:,} of unknown type {name!r}{did_you_mean(name)}: kept and shown, but no rule knows it")
    if as_json:
        emit(_counts(structs.replace(summary, faults=faults), taken.unknown_types))
    else:
        typer.echo(_words(summary))
    if taken.interrupted:
        say("engage: interrupted; what was taken stands, and the same command goes on from there")
        raise typer.Exit(INTERRUPTED)
    if summary.refused:
        raise typer.Exit(REFUSED)


@contextmanager
def _on_interrupt(handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """Ctrl-C calls ``handler`` itself: what an event loop makes of it waits for a loop that publishing keeps busy."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _words(summary: Summary) -> str:
    return f"{summary.taken:,} taken, {summary.duplicates:,} duplicates, {summary.refused:,} refused"


def _counts(summary: Summary, unknown_types: Counter[str]) -> dict[str, Any]:
    return {
        "lines": summary.lines,
        "taken": summary.taken,
        "duplicates": summary.duplicates,
        "refused": summary.refused,
        "faults": [{"line": fault.number, "faults": fault.faults} for fault in summary.faults],
        "unlisted": summary.unlisted,
        "unknown_types": dict(unknown_types),
    }
