"""What the tests of moving house do: export a house, look into an export."""

import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from engage import bootstrap
from engage.services.moving.exporting import Exporter, Progress
from engage.services.moving.files import Writer, lines
from engage.services.moving.manifest import NAME, Manifest, prove, read_manifest
from engage.services.moving.restoring import Restored, Restorer
from engage.services.views import Views
from engage.settings import Settings

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SEGMENT = 100_000
"""Bytes of a segment in these tests: the small demo's partitions have some of them."""


async def exported(settings: Settings, folder: Path, progress: Progress | None = None, **options: Any) -> Manifest:
    """Export a house, or go on with it."""
    async with bootstrap.house(settings) as house:
        exporter = Exporter(house, folder, clock=lambda: NOW, segment_bytes=SEGMENT, **{"parquet": False} | options)
        return await exporter.run(progress)


async def settled(settings: Settings, now: datetime = NOW) -> None:
    """Let a house do all that is left to do at a moment."""
    async with bootstrap.platform(settings, clock=lambda: now) as platform:
        await platform.settle(now)


def faults(folder: Path, manifest: Manifest) -> list[tuple[str, str]]:
    """What is wrong with an export, file by file."""
    return [(path, fault) for path, _, fault in prove(folder, manifest) if fault]


def log_of(folder: Path, manifest: Manifest) -> dict[int, list[tuple[int, bytes]]]:
    """The records of an exported log by partition: offset and value."""
    return {
        cut.partition: [
            (line.offset, bytes(line.event))
            for segment in manifest.segments(cut.partition)
            for line in map(_line, lines(folder / segment.path))
        ]
        for cut in manifest.cuts
    }


async def log_in(settings: Settings) -> dict[int, list[tuple[int, bytes]]]:
    """The records of a house's log by partition: offset and value."""
    found: dict[int, list[tuple[int, bytes]]] = {}
    async with bootstrap.reading_log(settings) as log:
        for partition in range(log.partitions):
            position, end = 0, await log.end(partition)
            found[partition] = []
            while position < end:
                batch = await log.read(partition, position, 5_000)
                found[partition] += [(record.offset, record.value) for record in batch.records]
                position = batch.next_position
    return found


class _Line(msgspec.Struct):
    offset: int
    event: msgspec.Raw


_line = msgspec.json.Decoder(_Line).decode


async def restored(settings: Settings, folder: Path, partitions: int | None = None, **options: Any) -> Restored:
    """Restore an export into a house, or go on with it."""
    async with bootstrap.site(settings, folder, partitions) as site:
        restorer = Restorer(site, folder, read_manifest(folder), lambda: NOW)
        return await restorer.run(**options)


def put_in(folder: Path, path: str, told: Iterable[bytes]) -> None:
    """Let a file of an export be another one, and its manifest say so."""
    with Writer(folder, path) as file:
        for line in told:
            file.write(line)
        put = msgspec.to_builtins(file.finish())
    manifest = msgspec.json.decode((folder / NAME).read_bytes())
    manifest["files"] = [put if one["path"] == path else one for one in manifest["files"]]
    (folder / NAME).write_bytes(msgspec.json.encode(manifest))


def new_house(folder: Path, old: Settings) -> Settings:
    """The settings of an empty house that has the master key of another."""
    folder.mkdir()
    shutil.copy(Path(old.home) / "master.key", folder / "master.key")
    return Settings(home=str(folder))


def rows_in(settings: Settings) -> dict[str, list[Any]]:
    """The rows of every read model, in the order of their keys, but for what says where a record stands."""
    found: dict[str, list[Any]] = {}
    with bootstrap.reading_views(settings) as store:
        views = Views(store, bootstrap.read_models(settings))
        for model in bootstrap.read_models(settings):
            with views.table(model.name, []) as (names, rows):
                told = [{name: one for name, one in zip(names, row, strict=True) if name not in PLACES} for row in rows]
            found[model.name] = sorted(told, key=lambda row: msgspec.json.encode(row, order="deterministic"))
    return found


def without_places(value: bytes) -> dict[str, Any]:
    """An event of the log but for what says where records stand."""
    event: dict[str, Any] = msgspec.json.decode(value)
    event.pop("inboxoffset", None)
    if event["type"] in ("follow_up.requested", "follow_up.skipped"):
        del event["data"]["decided_at"]
        del event["data"]["cause"]["partition"], event["data"]["cause"]["offset"]
    return event


def stories(log: dict[int, list[tuple[int, bytes]]]) -> dict[str, list[dict[str, Any]]]:
    """What the log says of each subject but partitions, in order, but for places."""
    found: dict[str, list[dict[str, Any]]] = {}
    for records in log.values():
        for _, value in records:
            event = without_places(value)
            if not event["subject"].startswith("partition:"):
                found.setdefault(event["subject"], []).append(event)
    return found


PLACES = frozenset({"entry", "partition", "offset", "cause_partition", "cause_offset"})
"""Columns of read models that say where a record stands."""
