"""Finds the usual faults, and names the remedy of each: the folder, the clock, the log, the read models, who works."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from engage.log.contract import Log
from engage.services.records import CorruptRecordError, read_event
from engage.services.status import Status, not_here
from engage.store.beginning import is_of
from engage.store.reader import Standing
from engage.store.views import ViewStore
from engage.views.aggregate import Aggregate
from engage.views.projection import ReadModel

State = Literal["well", "warning", "fault"]

SKEW = timedelta(seconds=5)
"""By how much clocks may differ before it is worth a word."""
LEAP = timedelta(minutes=5)
"""How far the log may be ahead of this machine's clock: what is dated later is refused at the door."""
LATE = timedelta(minutes=5)
"""How long a wake may be due before somebody should have told the time."""
BEHIND = 10_000
"""Records that a consumer may be behind the log."""
_LEAST_BYTES, _FEW_BYTES = 256 << 20, 2 << 30


class Finding(Struct, frozen=True):
    """What was looked at (``about``), how it is, in words, and what to do where something is wrong."""

    about: str
    state: State
    words: str
    remedy: str | None = None


class Place(Struct, frozen=True):
    """Bytes ``free`` of ``size`` where the folder lies."""

    free: int
    size: int


def of_folder(home: Path, place: Place | None = None) -> Iterator[Finding]:
    """Whether the folder can be written to, has room, and keeps its secrets."""
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        yield Finding(
            "folder", "fault", f"{home} cannot be read and written by this user", f"see to the rights of {home}"
        )
        return
    if place is None:
        usage = shutil.disk_usage(home)
        place = Place(usage.free, usage.total)
    room = f"{place.free / 1e9:,.1f} of {place.size / 1e9:,.1f} GB are free"
    if place.free < _FEW_BYTES:
        state: State = "fault" if place.free < _LEAST_BYTES else "warning"
        yield Finding("folder", state, f"{room} where {home} lies", "make room: without it nothing more is taken")
    else:
        yield Finding("folder", "well", room)
    key = home / "master.key"
    if not key.exists():
        if (home / "keys.db").exists():
            words = "keys.db is there and master.key, which wraps its keys, is not: nothing personal can be read"
            yield Finding("keys", "fault", words, f"put {key} back from the backup")
        return
    if mode := stat.S_IMODE(key.stat().st_mode) & 0o077:
        yield Finding("keys", "fault", f"others may read {key} (mode {mode:03o} too many)", f"chmod 600 {key}")
    elif key.read_bytes().count(b"engage-master-key:") > 1:
        words = "a new master key was prepared and the old one not let go of yet"
        yield Finding("keys", "warning", words, "engage sealing-keys rotate")
    else:
        yield Finding("keys", "well", "the master key is its owner's alone")


async def of_log(log: Log, standing: Standing | None, status: Status) -> Finding:
    """Whether there is a record that is no event: every read model stops before it."""
    positions = sorted({(place[1], at.position) for place, at in (standing.positions if standing else {}).items()})
    for partition, position in positions:
        records = (await log.read(partition, position, 1)).records if position < await log.end(partition) else ()
        try:
            list(map(read_event, records))
        except CorruptRecordError as error:
            words, _, remedy = str(error).rpartition(": ")
            return Finding("log", "fault", f"{words}: no read model goes past it", remedy)
    records_there = sum(one.end for one in status.log)
    return Finding("log", "well", f"{records_there:,} records in {len(status.log)} partitions")


def of_clock(status: Status, now: datetime, database: datetime | None = None) -> Iterator[Finding]:
    """Whether this machine's clock agrees with the log, and with the database's where there is one."""
    newest = max((one.newest for one in status.log if one.newest is not None), default=None)
    if newest is not None and newest > now + SKEW:
        state: State = "fault" if newest > now + LEAP else "warning"
        words = f"the log's newest record was recorded {_span(newest - now)} ahead of this machine's clock"
        yield Finding("clock", state, words, "set this machine's clock, or that of whoever runs intake, right (NTP)")
    elif database is not None and abs(database - now) > SKEW:
        ahead = "ahead of" if database > now else "behind"
        words = f"the database's clock is {_span(abs(database - now))} {ahead} this machine's"
        yield Finding("clock", "warning", words, "set both right (NTP)")
    else:
        yield Finding("clock", "well", "it agrees with the log")


def of_work(status: Status, now: datetime, *, embedded: bool) -> Iterator[Finding]:
    """Whether somebody does what there is to do."""
    start = "`engage up`" if embedded else "`engage worker streams` and `engage worker desk`"
    if embedded and status.owner is None:
        yield Finding("work", "warning", "no process runs engage on this folder: nothing goes on", f"start {start}")
    if status.next_wake is not None and status.next_wake < now - LATE:
        words = f"a rule has waited to be woken for {_span(now - status.next_wake)}"
        yield Finding("work", "warning", words, f"see that {start} runs, and what its own log says")
    if not embedded and "relationships" in status.missing:
        remedy = "set ENGAGE_VIEWS as it is for `engage worker desk`, or start that"
        yield Finding("desk", "warning", not_here("relationships"), remedy)
    elif status.desk_behind > BEHIND:
        words = f"the desk is {status.desk_behind:,} records behind the log: follow-ups come late"
        yield Finding("desk", "warning", words, f"see that {start} runs, and what its own log says")
    if status.relay_waiting > BEHIND:
        words = f"{status.relay_waiting:,} events of follow-ups wait to be put on the log"
        yield Finding("relay", "warning", words, f"see that {start} runs, and what its own log says")
    if status.dead_letters:
        events = f"{status.dead_letters:,} event{'s' if status.dead_letters > 1 else ''}"
        words = f"{events} could not be taken by a rule, or not be read by who follows the log"
        remedy = "`engage dead-letters list` shows them: mend what failed, then retry them, or skip the event"
        yield Finding("dead letters", "warning", words, remedy)


def of_views(
    status: Status,
    standing: Standing | None,
    models: Sequence[ReadModel[Any]],
    store: ViewStore | None,
    *,
    embedded: bool = True,
) -> Iterator[Finding]:
    """Whether the read models are those of this engage, and keep up with the log."""
    if standing is None or store is None:
        words, remedy = "there are none yet", "start engage: it folds them from the log"
        if not embedded:
            words = not_here("views")
            remedy = "set ENGAGE_VIEWS as it is for `engage worker projections`, or start that"
        yield Finding("read models", "warning", words, remedy)
        return
    wrong = list(_wrong_views(status, standing, models, store))
    yield from wrong
    if not wrong:
        yield Finding("read models", "well", f"all {len(models)} keep up with the log")


def _wrong_views(
    status: Status, standing: Standing, models: Sequence[ReadModel[Any]], store: ViewStore
) -> Iterator[Finding]:
    states: Mapping[str, Any] = {one.name: one for one in status.views}
    for model in models:
        stored, found = standing.models.get(model.name), states[model.name]
        about = f"read model {model.name}"
        if stored is None:
            yield Finding(about, "warning", "it is not there yet", "start engage: it folds it from the log")
        elif not is_of(stored, store.table(model)):
            words = f"it is here in version {stored.version}, this engage folds version {model.version}"
            yield Finding(
                about, "warning", words, "`engage projections list` shows how far the new one is built beside"
            )
        elif found.paused is not None:
            words = f"{found.paused.by} paused it at {found.paused.since:%Y-%m-%d %H:%M} UTC"
            yield Finding(about, "warning", words, f"`engage projections resume {model.name}` lets it go on")
        elif found.behind > BEHIND:
            words = f"it is {found.behind:,} records behind the log"
            yield Finding(about, "warning", words, "see that a process projects, and what its own log says")
        if found.parked and not isinstance(model, Aggregate):
            words = f"{found.parked:,} of its rows stand still: an event could not be folded"
            remedy = "`engage dead-letters list` has the error: mend the fold, then retry them, or skip the event"
            yield Finding(about, "warning", words, remedy)


def _span(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7_200 else f"{seconds // 3_600} h"
