"""Import: files of what happened elsewhere become events, line by line, and what is wrong with a line is said of it.

A reader gives, for each line, an event's JSON or a fault; ``load`` publishes in chunks. Ids come from the file (a
CloudEvent's own, a Segment message's, what a mapping says, or else the file's name, the line and its content), so a
second run finishes what a first one began and takes nothing twice, also when lines were added at the file's end.
"""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import datetime
from io import BufferedReader
from typing import Any

import msgspec
from msgspec import Raw, Struct

from engage.events.envelope import Event, to_micros
from engage.events.validation import Refusal
from engage.log.contract import Answer, Duplicate
from engage.services import segment
from engage.services.lines import Line, LineFault, file_fault, line_fault, read_lines, text_of
from engage.services.mapping import WHITESPACE, CellError, EventMapping

CHUNK = 1_000
"""Events published at a time, in one transaction where the log is embedded."""
DETAILED_FAULTS = 20
"""Faults that a summary keeps word for word; the rest are counted."""

Publish = Callable[[Sequence[bytes | Event[Raw]]], Awaitable[list[Answer]]]


class Summary(Struct):
    """What became of a file: ``lines`` is the highest line dealt with, the other counts are of events.

    ``skipped`` were known to be done before they were published; ``faults`` are the first of the ``refused``, of which
    ``told`` hears every line.
    """

    lines: int = 0
    taken: int = 0
    duplicates: int = 0
    refused: int = 0
    skipped: int = 0
    faults: list[LineFault] = msgspec.field(default_factory=list)
    told: Callable[[int], None] | None = None

    @property
    def unlisted(self) -> int:
        """How many were refused beyond those in ``faults``."""
        return self.refused - len(self.faults)

    def refuse(self, fault: LineFault) -> None:
        """Count one more, and keep it word for word while there is room."""
        self.refused += 1
        if self.told is not None:
            self.told(fault.number)
        if fault.of_file:
            self.faults.insert(0, fault)  # whatever else is wrong, this is said
            del self.faults[DETAILED_FAULTS:]
        elif len(self.faults) < DETAILED_FAULTS:
            self.faults.append(fault)


async def load(
    items: Iterable[Line | LineFault],
    publish: Publish,
    *,
    chunk: int = CHUNK,
    progress: Callable[[Summary], None] | None = None,
    resume: Callable[[int], bool] | None = None,
    refused: Callable[[int], None] | None = None,
) -> Summary:
    """Publish what a reader gives and say what became of it; one bad line never sinks the others.

    ``progress`` is called after each chunk of up to ``chunk`` events. ``resume(line)`` may say that a line was dealt
    with in an earlier run: it is skipped without asking the log. ``refused`` is told each line that was.
    """
    summary = Summary(told=refused)
    waiting: list[Line] = []
    for item in items:
        if resume is not None and resume(item.number):
            summary.skipped += 1
        elif isinstance(item, LineFault):
            summary.refuse(item)
        else:
            waiting.append(item)
        summary.lines = max(summary.lines, item.number)
        if len(waiting) >= chunk:
            await _publish(waiting, publish, summary)
            waiting = []
            if progress is not None:
                progress(summary)
            # Where the log is embedded publishing never waits: so others have their turn, and an interrupt comes in.
            await asyncio.sleep(0)
    if waiting:
        await _publish(waiting, publish, summary)
    if progress is not None:
        progress(summary)
    return summary


async def _publish(lines: list[Line], publish: Publish, summary: Summary) -> None:
    for line, answer in zip(lines, await publish([line.value for line in lines]), strict=True):
        if isinstance(answer, Refusal):
            summary.refuse(LineFault(line.number, answer.faults))
        elif isinstance(answer, Duplicate):
            summary.duplicates += 1
        else:
            summary.taken += 1


def read_events(file: BufferedReader) -> Iterator[Line | LineFault]:
    """The events in a file of one JSON object a line: CloudEvents, or Segment messages, told apart line by line.

    A Segment batch gives several events with the same line number. A file that begins as a JSON array is one fault.
    """
    begun = False
    for line in read_lines(file):
        text = line if isinstance(line, LineFault) else text_of(line)
        if isinstance(text, LineFault):
            yield text
        elif text and not text.isspace():
            if not begun and text.lstrip().startswith("["):
                yield file_fault(
                    line.number,
                    "the file is a JSON array: write one event a line (`jq -c '.[]' FILE` does), or send the array to "
                    "POST /v1/events",
                )
                return
            begun = True
            assert isinstance(line, Line)
            yield from _events_on(line)


def _events_on(line: Line) -> Iterator[Line | LineFault]:
    try:
        seen = _seen(line.value)
    except msgspec.ValidationError:
        yield line_fault(line.number, "is JSON, but not an object: write one event or message a line")
        return
    except (msgspec.DecodeError, RecursionError) as error:
        yield line_fault(line.number, f"not JSON: {error}")
        return
    if seen.specversion is not msgspec.UNSET or not segment.is_message(seen.type, seen.batch):
        yield line
        return
    for made in segment.to_events(msgspec.json.decode(line.value)):
        if isinstance(made, bytes):
            yield Line(line.number, made)
        else:
            yield LineFault(line.number, (made,))


class _Seen(Struct, gc=False):
    """The little that tells what a line is."""

    specversion: Any = msgspec.UNSET
    type: Any = msgspec.UNSET
    batch: Raw | msgspec.UnsetType = msgspec.UNSET


class _Timed(Struct, gc=False):
    time: datetime


_seen = msgspec.json.Decoder(_Seen).decode
_timed = msgspec.json.Decoder(_Timed).decode


def read_table(file: BufferedReader, mapping: EventMapping, label: str) -> Iterator[Line | LineFault]:
    """The events that ``mapping`` makes of the rows of ``file``, CSV or columns set apart by white space.

    ``label`` stands for the file in ids. A row over several lines (a quoted field may hold line ends) has the number of
    its last one. A header without a column that the mapping uses is the only fault and the end.
    """
    faults: list[LineFault] = []
    rows = _Rows(read_lines(file), mapping.text.delimiter, faults)
    names: Sequence[str] | None = None if mapping.text.header else mapping.text.columns
    for number, row in rows:
        yield from faults
        faults.clear()
        if isinstance(row, str):
            yield line_fault(number, row)
        elif names is None:
            names = [name.strip() for name in row]
            missing = [column for column in mapping.columns if column not in names]
            if missing:
                yield file_fault(number, f"is missing; the header has: {', '.join(names)}", missing[0])
                return
        elif len(row) != len(names):
            field = names[len(row)] if len(row) < len(names) else ""
            yield line_fault(number, f"the line has {len(row)} fields where there are {len(names)} columns", field)
        else:
            cells = dict(zip(names, row, strict=True)) | {"file": label, "line": str(number)}
            try:
                yield Line(number, mapping.event(cells))
            except CellError as error:
                yield line_fault(number, error.args[1], error.args[0])
    yield from faults


class _Rows:
    """Rows with their line numbers, as lists of cells or as what is wrong; lines that are no text go to ``faults``."""

    def __init__(self, lines: Iterable[Line | LineFault], delimiter: str, faults: list[LineFault]) -> None:
        self._lines = lines
        self._delimiter = delimiter
        self._faults = faults
        self._number = 0

    def __iter__(self) -> Iterator[tuple[int, list[str] | str]]:
        if self._delimiter == WHITESPACE:
            rows: Iterator[list[str]] = (text.split() for text in self._texts())
        else:
            rows = csv.reader(self._texts(), delimiter=self._delimiter, strict=True)
        while True:
            try:
                row = next(rows, None)
            except csv.Error as error:
                yield self._number, f"not a row of this format: {error}"
                continue
            if row is None:
                return
            if row:
                yield self._number, row

    def _texts(self) -> Iterator[str]:
        for line in self._lines:
            text = line if isinstance(line, LineFault) else text_of(line)
            self._number = line.number
            if isinstance(text, LineFault):
                self._faults.append(text)
            else:
                yield text + "\n"


def in_time_order(items: Iterable[Line | LineFault]) -> Iterator[Line | LineFault]:
    """The same, faults first, then events by ``time``: what history mode wants of a file that is not sorted.

    All lines are held in memory (about 400 bytes each: a file of 70,000 lines takes 30 MB). An event whose time cannot
    be read comes first, for the log to refuse.
    """
    timed: list[tuple[int, int, bytes]] = []
    for item in items:
        if isinstance(item, LineFault):
            yield item
        else:
            try:
                micros = to_micros(_timed(item.value).time)
            except (msgspec.DecodeError, TypeError):
                micros = -(2**63)
            timed.append((micros, item.number, item.value))
    timed.sort(key=lambda entry: entry[:2])
    for _, number, value in timed:
        yield Line(number, value)
