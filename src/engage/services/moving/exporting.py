"""Writes a whole engage into a folder while it runs: consistent, in files of bounded size, gone on with when cut off.

What is kept beside the log is read first, then the log's ends are noted, and the keys are read last: so the log holds
whatever the stores have seen, and the keys are there of all that the log holds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import msgspec

from engage.durable import keep, take_place
from engage.log.contract import LogGapError, Record
from engage.log.sqlite import SqliteLog
from engage.services.moving.files import PACKED, UNFINISHED, ExportFile, Writer, measured
from engage.services.moving.house import ACCESS, KEYS, WEBHOOKS, House, Kept
from engage.services.moving.manifest import Begun, Cut, Done, Ends, ExportedView, Journal, Manifest
from engage.services.moving.parquet import require
from engage.services.moving.view_files import Exported, write_views
from engage.store.keys import MasterKeyError
from engage.store.table_rows import lines

SEGMENT_BYTES = 64 << 20
"""A file of the log holds about so many bytes before they are packed: what is written again after a crash."""
EVENTS, ANSWERED, MARKERS = "relationships.events", "relationships.answered", "log.markers"
STOPPED, REFUSED = "dead_letters.stopped", "dead_letters.refused"
MASTER_KEY = "master.key"
_PAGE = 500
_EVENTS_AT_ONCE = 5_000

Progress = Callable[[str, int, int, float], None]
"""Gets what is written, how much of it, how much there is (0: not known), and how much a second."""


class Exporter:
    """Exports ``house`` into ``folder``. Make it anew to go on with an export that was cut off."""

    def __init__(
        self,
        house: House,
        folder: Path,
        *,
        parquet: bool = True,
        master_key: bool = False,
        clock: Callable[[], datetime],
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self._house = house
        self._folder = folder
        self._clock = clock
        self._segment_bytes = segment_bytes
        self._begun = Begun(
            id=str(uuid4()),
            engage=house.engage,
            began=clock(),
            log=house.log_backend,
            stores=house.store_backend,
            generation=house.log.generation,
            partitions=house.log.partitions,
            parquet=parquet,
            master_key=master_key,
        )

    async def run(self, progress: Progress | None = None) -> Manifest:
        """Write everything that is not there yet, and the manifest last; returns it.

        NotEmptyError if the folder holds a whole export or something else, or an export of another log;
        ParquetMissingError without pyarrow; LogGapError if the log has lost records. Interrupted at any moment, by
        whatever, it can be run again.
        """
        if self._begun.parquet:
            require()
        tell = progress or _silent
        journal = Journal.opened(self._folder, self._begun)
        self._begun = journal.begun
        for part, write in (
            ("settings", self._settings),
            ("views", self._views),
            ("relationships", self._relationships),
            ("webhooks", lambda: self._store(WEBHOOKS)),
            ("access", lambda: self._store(ACCESS)),
            ("log", self._beside_log),
        ):
            await self._part(journal, part, write, tell)
        if "letters" not in journal.done:
            journal.note(await self._letters())
        if journal.ends is None:
            partitions = range(self._house.log.partitions)
            journal.cut(Ends(self._clock(), {one: await self._house.log.end(one) for one in partitions}))
        await self._part(journal, "keys", self._keys, tell)
        assert journal.ends is not None, "it was cut above"
        await self._log(journal, journal.ends.ends, tell)
        manifest = _manifest(journal)
        journal.close(manifest)
        return manifest

    async def _part(
        self, journal: Journal, part: str, write: Callable[[], Iterator[Done | tuple[str, int]]], tell: Progress
    ) -> None:
        if part in journal.done:
            return
        began = time.monotonic()
        for step in write():
            if isinstance(step, Done):
                journal.note(step)
            else:
                tell(step[0], step[1], 0, step[1] / max(1e-9, time.monotonic() - began))
            await asyncio.sleep(0)  # so that an interruption is heard

    def _settings(self) -> Iterator[Done]:
        files = [
            _copied(source, self._folder, f"settings/{name}")
            for name, source in self._house.settings.items()
            if source.exists()
        ]
        yield Done("settings", tuple(files))

    def _views(self) -> Iterator[Done | tuple[str, int]]:
        if self._house.views is None:
            left_out = "nobody has folded read models here yet"
            views = tuple(
                ExportedView(name=one.name, version=one.version, left_out=left_out) for one in self._house.models
            )
            yield Done("views", (), views)
            return
        for step in write_views(self._house.views, self._house.models, self._folder, parquet=self._begun.parquet):
            yield Done("views", tuple(step.files), tuple(step.views)) if isinstance(step, Exported) else step

    def _relationships(self) -> Iterator[Done | tuple[str, int]]:
        app = self._house.relationships
        if app is None:
            yield Done("relationships", ())
            return
        last = app.store.max_notification_id() or 0
        with Writer(self._folder, f"stores/{EVENTS}{PACKED}") as file:
            after = 0
            while found := app.store.select_notifications(after, _EVENTS_AT_ONCE, inclusive_of_start=False):
                for one in found:
                    if one.id <= last:
                        told = {"id": one.originator_id, "version": one.originator_version, "topic": one.topic}
                        file.write(msgspec.json.encode(told | {"state": msgspec.Raw(one.state)}))
                after = found[-1].id
                yield EVENTS, file.rows
                if after >= last:
                    break
            events = file.finish()
        answered = self._written(ANSWERED, map(msgspec.json.encode, app.store.kept_answers()))
        yield Done("relationships", (events, answered))

    def _store(self, kept: Kept) -> Iterator[Done]:
        database = self._house.stores.get(kept.name)
        if database is None:
            yield Done(kept.name, ())
            return
        with database.read() as connection:
            files = [self._written(f"{kept.name}.{table.name}", lines(connection, table)) for table in kept.tables]
        yield Done(kept.name, tuple(files), schemas={kept.name: kept.schema})

    def _beside_log(self) -> Iterator[Done]:
        """Read before the log is cut: a marker says that the log has what it stands for."""
        files = []
        if isinstance(self._house.log, SqliteLog):
            markers = [
                msgspec.json.encode({"name": name, "value": at}) for name, at in self._house.log.markers().items()
            ]
            files.append(self._written(MARKERS, markers))
        yield Done("log", tuple(files))

    async def _letters(self) -> Done:
        """Where rules stand still, with the whole error; what intake refused, and nobody has retried or skipped."""
        stopped = await self._house.letters.source.stopped()
        refused = [refused for _, refused in await self._house.letters.refused()]
        encode = msgspec.json.encode
        files = self._written(STOPPED, map(encode, stopped)), self._written(REFUSED, map(encode, refused))
        return Done("letters", files)

    def _keys(self) -> Iterator[Done]:
        """With the master key as it was before and behind them: while it is rotated, it may not open all of them."""
        path = self._house.master_key
        if not self._begun.master_key:
            yield from self._store(KEYS)
            return
        if not path.exists():
            raise MasterKeyError(f"{path} is missing: put it back, or export without it")
        whole: Done | None = None
        while whole is None:
            before = path.read_bytes()
            [done] = self._store(KEYS)
            files = (*done.files, _copied(path, self._folder, MASTER_KEY))
            if path.read_bytes() == before:
                whole = msgspec.structs.replace(done, files=files)
        yield whole

    async def _log(self, journal: Journal, ends: dict[int, int], tell: Progress) -> None:
        total, began, before = sum(ends.values()), time.monotonic(), 0
        done = dict.fromkeys(ends, 0)
        for partition, end in ends.items():
            whole = [one for name, one in journal.done.items() if name.startswith(f"log:{partition}:")]
            position = done[partition] = max((file.next or 0 for one in whole for file in one.files), default=0)
            before += position
            number = len(whole)
            while position < end:
                with Writer(self._folder, f"log/{partition:04}/{number:06}{PACKED}") as file:
                    first, recorded = position, None
                    while position < end and file.taken < self._segment_bytes:
                        batch = await self._house.log.read(partition, position, min(_PAGE, end - position))
                        if batch.next_position == position:
                            raise LogGapError(
                                f"partition {partition} of the log ends at {position} and not at {end} any more"
                            )
                        for record in batch.records:
                            if record.offset < end:
                                file.write(_line(record))
                                recorded = record.recorded
                        position = min(batch.next_position, end)
                        done[partition] = position
                        so_far = sum(done.values())
                        tell("log", so_far, total, (so_far - before) / max(1e-9, time.monotonic() - began))
                        await asyncio.sleep(0)
                    segment = file.finish(partition=partition, first=first, next=position)
                journal.note(Done(f"log:{partition}:{number}", (segment,), recorded=recorded))
                number += 1

    def _written(self, name: str, told: Iterable[bytes]) -> ExportFile:
        with Writer(self._folder, f"stores/{name}{PACKED}") as file:
            for line in told:
                file.write(line)
            return file.finish()


def _line(record: Record) -> bytes:
    return b'{"offset":%d,"event":%b}' % (record.offset, record.value)


def _copied(source: Path, folder: Path, path: str) -> ExportFile:
    final = folder / path
    final.parent.mkdir(parents=True, exist_ok=True)
    draft = final.with_name(final.name + UNFINISHED)
    with draft.open("wb") as file:
        draft.chmod(0o600)
        file.write(source.read_bytes())
        keep(file)
    take_place(draft, final)
    return measured(folder, path, 0)


def _manifest(journal: Journal) -> Manifest:
    assert journal.ends is not None, "a whole export has a cut log"
    done = list(journal.done.values())
    cuts = []
    for partition, end in journal.ends.ends.items():
        ours = [one for one in done if one.part.startswith(f"log:{partition}:")]
        recorded = [one.recorded for one in ours if one.recorded is not None]
        rows = sum(file.rows for one in ours for file in one.files)
        cuts.append(Cut(partition, end, rows, max(recorded, default=None)))
    return Manifest(
        **msgspec.structs.asdict(journal.begun),
        read=journal.ends.read,
        cuts=tuple(cuts),
        views=tuple(view for one in done for view in one.views),
        schemas={name: version for one in done for name, version in one.schemas.items()},
        files=tuple(file for one in done for file in one.files),
    )


def _silent(what: str, done: int, total: int, rate: float) -> None:
    return
