"""Brings an exported engage back into an empty house: the same backend or the other one, as many partitions or others.

The log is put back record by record, beside it what is no fold of it, and everything else is folded anew. Every step
can be done again: what is there already is met and left, so who was cut off begins anew and is soon where it was.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from engage.durable import keep, take_place
from engage.log.contract import Log
from engage.log.partitioning import partition_of
from engage.log.sqlite import SqliteLog, Writes
from engage.relationships.application import Relationships
from engage.services.erasure import Erasures
from engage.services.letters.source import Refused, Stopped
from engage.services.moving import carrying
from engage.services.moving.exporting import MARKERS, MASTER_KEY, REFUSED, STOPPED, Progress
from engage.services.moving.files import PACKED, UNFINISHED, DamagedError, lines
from engage.services.moving.manifest import Manifest, NotEmptyError, prove
from engage.services.moving.placing import Placing
from engage.services.moving.reading import chain, named_places, records
from engage.services.moving.targets import Appending, LogTarget
from engage.services.moving.unfinished import Beginning, ended
from engage.services.projector import Projector
from engage.services.relay import restore_from
from engage.services.verifying import Difference, Verifier
from engage.store.access import AccessStore
from engage.store.keys import KeyStore
from engage.store.views import ViewStore
from engage.store.webhooks import WebhookStore
from engage.views.projection import ReadModel

_STEP = 2_000


class ChainedError(RuntimeError):
    """Somebody is linked to an account that is linked to another one: Kafka does not take that over."""


class Site(Struct, frozen=True, kw_only=True):
    """The house that an export is restored into, opened; nobody else works in it."""

    home: Path
    log: Log
    appending: Appending
    keys: KeyStore
    erasures: Erasures
    access: AccessStore
    webhooks: WebhookStore
    relationships: Relationships
    views: ViewStore
    models: Sequence[ReadModel[Any]]
    settings: Mapping[str, Path]


class Restored(Struct, frozen=True, kw_only=True):
    """What came of it: ``met`` of the records were there already, ``added`` are ticks that the new partitions need.

    ``differences`` are what `engage projections verify` says, by read model; ``notes`` what was not brought back.
    """

    export: str
    records: int
    met: int
    added: int
    partitions: int
    unrelayed: int
    differences: dict[str, Difference | None]
    notes: tuple[str, ...]


class Restorer:
    """Restores the export in ``folder`` into ``site``."""

    def __init__(self, site: Site, folder: Path, manifest: Manifest, clock: Callable[[], datetime]) -> None:
        self._site = site
        self._folder = folder
        self._manifest = manifest
        self._clock = clock
        self._notes: list[str] = []

    async def run(self, progress: Progress | None = None, *, verify: bool = True) -> Restored:
        """Bring everything back, fold the read models and prove them (``verify``).

        DamagedError before anything is written if a file is not what was exported; NotEmptyError if the house holds
        something that no earlier run of this restore has left. It can be done again whenever it was cut off.
        """
        tell = progress or _silent
        await self._prove(tell)
        self._not_chained()
        self._begin()
        self._settings()
        carrying.keys(self._site.keys.database, self._lines)
        target = LogTarget(self._site.log, self._site.appending)
        with self._placing(target) as placing:
            added = await self._log(placing, target, tell)
            self._markers()
            while await self._site.erasures.step(_STEP):
                pass
            await restore_from(self._site.log, self._site.relationships)
            unrelayed = carrying.relationships(self._site.relationships, self._lines)
            carrying.access(self._site.access.database, self._lines, placing.commands)
            carrying.webhooks(
                self._site.webhooks.database, self._lines, self._manifest, placing, self._site.log.generation
            )
            await self._letters(placing)
            projector = await Projector.opened(self._site.log, self._site.views, self._site.models)
            carrying.views(self._site.views.database, self._lines, self._manifest, placing, self._site.models)
        await self._fold(projector, tell)
        carrying.pauses(self._site.views.database, self._lines)
        differences = await self._verified(tell) if verify else {}
        ended(self._site.home)
        return Restored(
            export=self._manifest.id,
            records=self._manifest.records,
            met=target.met,
            added=added,
            partitions=self._site.log.partitions,
            unrelayed=unrelayed,
            differences=differences,
            notes=tuple(self._notes),
        )

    async def _prove(self, tell: Progress) -> None:
        total, done, began = self._manifest.bytes, 0, time.monotonic()
        for path, size, fault in prove(self._folder, self._manifest):
            if fault:
                raise DamagedError(
                    f"{self._folder / path}: {fault}. Nothing was restored from it: take another copy of the export"
                )
            done += size
            tell("checking", done, total, done / max(1e-9, time.monotonic() - began))
            await asyncio.sleep(0)

    def _not_chained(self) -> None:
        """On Kafka a chain of links is gone down step by step, and the embedded log took each at one bound."""
        if self._manifest.log == "sqlite" and not isinstance(self._site.log, SqliteLog):
            found = chain(self._folder, self._manifest)
            if found is not None:
                visitor, account, further = found
                raise ChainedError(
                    f"{visitor!r} is linked to {account!r}, which is linked to {further!r}: Kafka takes over no chain. "
                    f"`engage unlink {visitor}` where it was exported, link it to {further!r}, export again. Nothing "
                    "was restored"
                )

    def _begin(self) -> None:
        carrying.prove_schemas(self._manifest)
        begun = Beginning(self._manifest.id, str(self._folder.absolute()), self._clock())
        if begun.goes_on(self._site.home):
            return
        if taken := carrying.occupied(self._site):
            raise NotEmptyError(
                f"{taken}: an export is restored into an empty house alone. Name another ENGAGE_HOME, ENGAGE_TOPICS or "
                "database (ENGAGE_VIEWS), or move away what is there"
            )
        begun.note(self._site.home)

    def _settings(self) -> None:
        """What rules, segments and inbound webhooks mean, where this house does not say so itself."""
        for name, path in self._site.settings.items():
            source = self._folder / "settings" / name
            if not source.exists():
                continue
            if not path.exists():
                path.write_bytes(source.read_bytes())
            elif path.read_bytes() != source.read_bytes():
                self._notes.append(f"{path} stays as it is; the export has another one, {source}")

    def _placing(self, target: LogTarget) -> Placing:
        marks = [
            (partition, position)
            for view in self._manifest.views
            for positions in (view.positions, view.announces)
            for partition, position in positions.items()
        ]
        stopped = self._stopped()

        def named(partition: int) -> Iterator[tuple[str, int]]:
            yield from named_places(self._folder, self._manifest, partition)
            yield from ((one.account, one.parked.offset) for one in stopped if one.partition == partition)

        return Placing(
            {cut.partition: cut.end for cut in self._manifest.cuts},
            self._site.log.partitions,
            named,
            target.next_offset,
            marks + carrying.cursors(self._lines, self._manifest),
        )

    async def _log(self, placing: Placing, target: LogTarget, tell: Progress) -> int:
        """Put all records back; how many more there are than in the export."""
        total, done, began = self._manifest.records, 0, time.monotonic()
        logs = {cut.partition: records(self._folder, self._manifest, cut.partition) for cut in self._manifest.cuts}
        hurried = self._site.log.hurried() if isinstance(self._site.log, SqliteLog) else nullcontext()
        with hurried:
            for source, record in placing.merged(logs):
                if not target.is_ready:
                    await target.ready()
                placing.place(source, record, target.put)
                done += 1
                if done % _STEP == 0:
                    tell("log", done, total, done / max(1e-9, time.monotonic() - began))
                    await asyncio.sleep(0)
            await target.ready()
            placing.finish(target.put)
        target.must_be_whole()
        await target.flush()
        tell("log", done, total, done / max(1e-9, time.monotonic() - began))
        return target.count - done

    def _markers(self) -> None:
        """How far imports have come; only the embedded log is imported into, and knows."""
        if isinstance(self._site.log, SqliteLog):
            for line in self._lines(MARKERS):
                marker = msgspec.json.decode(line)
                self._site.log.commit(Writes(marker=(marker["name"], marker["value"])))
            self._site.log.index()

    async def _letters(self, placing: Placing) -> None:
        """Dead letters where rules stand still now; of those that intake refused, not those of the erased."""
        stopped = []
        for one in self._stopped():
            target = partition_of(one.account, placing.targets)
            offset = placing.moment(one.partition, one.parked.offset, target)
            if offset is not None:
                stopped.append(replace(one, partition=target, parked=replace(one.parked, offset=offset)))
        refused = [msgspec.json.decode(line, type=Refused) for line in self._lines(REFUSED)]
        ours = [one for one in refused if one.key.decode("utf-8", "replace") not in placing.erased]
        if left := await self._site.appending.put_letters(stopped, ours):
            self._notes.append(
                f"{left:,} events that intake had refused stay in {self._folder / 'stores' / (REFUSED + PACKED)}: an "
                "embedded log keeps none. Mend them and publish them again"
            )

    def _stopped(self) -> list[Stopped]:
        return [msgspec.json.decode(line, type=Stopped) for line in self._lines(STOPPED)]

    async def _fold(self, projector: Projector, tell: Progress) -> None:
        ends, began = await self._ends(), time.monotonic()

        def folded(done: int) -> None:
            tell("read models", min(done, ends), ends, done / max(1e-9, time.monotonic() - began))

        await projector.catch_up(folded)

    async def _verified(self, tell: Progress) -> dict[str, Difference | None]:
        """What proving each read model says."""
        verifier, found = Verifier(self._site.log, self._site.views), dict[str, Difference | None]()
        ends = await self._ends()

        def proved(done: int, total: int, rate: float) -> None:
            tell("proving", len(found) * ends + done, len(self._site.models) * ends, rate)

        for model in self._site.models:
            found[model.name] = await verifier.verify(model, progress=proved)
        return found

    async def _ends(self) -> int:
        return sum([await self._site.log.end(one) for one in range(self._site.log.partitions)])

    def _lines(self, name: str) -> Iterator[bytes]:
        return _lines_of(self._folder, self._manifest, name)


def bring_master_key(folder: Path, manifest: Manifest, path: Path) -> None:
    """Put the export's master key at ``path`` if it has one and there is none; MasterKeyError if the right one is not.

    It is proved before anything is opened: what opens keys makes a new master key where there is none.
    """
    if manifest.master_key and not path.exists():
        draft = path.with_name(path.name + UNFINISHED)
        with draft.open("wb") as file:
            draft.chmod(0o600)
            file.write((folder / MASTER_KEY).read_bytes())
            keep(file)
        take_place(draft, path)
    carrying.prove_master_key(partial(_lines_of, folder, manifest), path)


def _lines_of(folder: Path, manifest: Manifest, name: str) -> Iterator[bytes]:
    """The rows of one of an export's tables; none where it has no such table."""
    path = f"stores/{name}{PACKED}"
    if any(file.path == path for file in manifest.files):
        yield from lines(folder / path)


def _silent(what: str, done: int, total: int, rate: float) -> None:
    return
