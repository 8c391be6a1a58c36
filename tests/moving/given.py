"""What the tests of moving house do: export a house, look into an export."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from engage import bootstrap
from engage.services.moving.exporting import Exporter, Progress
from engage.services.moving.files import lines
from engage.services.moving.manifest import Manifest, prove
from engage.settings import Settings

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SEGMENT = 100_000
"""Bytes of a segment in these tests: the small demo's partitions have some of them."""


async def exported(settings: Settings, folder: Path, progress: Progress | None = None, **options: Any) -> Manifest:
    """Export a house, or go on with it."""
    async with bootstrap.house(settings) as house:
        exporter = Exporter(house, folder, clock=lambda: NOW, segment_bytes=SEGMENT, **{"parquet": False} | options)
        return await exporter.run(progress)


async def folded(settings: Settings) -> None:
    """Bring the read models of a house to the log's end."""
    async with bootstrap.platform(settings) as platform:
        await platform.projector.catch_up()


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
