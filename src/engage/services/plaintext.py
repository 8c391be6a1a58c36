"""Looks for plain texts where engage keeps things: files byte by byte, tables row by row, topics record by record.

What is packed is unpacked: an export's NDJSON (zstd), its Parquet, a backup by gzip.
"""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct
from sqlalchemy import inspect, text

from engage.store.database import Database

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Progress = Callable[[str], None]
"""Gets the name of each place before it is searched."""

_CHUNK = 1 << 22
_FETCH_MS = 2_000
_ZSTD, _GZIP, _PARQUET = b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b"PAR1"


class UnsearchableError(ValueError):
    """A file cannot be looked into: the message says why, and what to do."""


class Found(Struct, frozen=True):
    """A place that holds a plain text, by its number in the texts that were looked for (never the text itself)."""

    place: str
    text: int


def in_files(paths: Iterable[Path], texts: Sequence[str], progress: Progress | None = None) -> list[Found]:
    """Which of the texts stand in which files, as UTF-8 and as JSON writes them; folders are searched whole."""
    needles = [_forms(text) for text in texts]
    longest = max((len(form) for forms in needles for form in forms), default=0)
    found = []
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if not file.is_file():
                continue
            _tell(progress, str(file))
            found += [Found(str(file), number) for number in _in_file(file, needles, longest)]
    return found


def in_tables(database: Database, texts: Sequence[str], progress: Progress | None = None) -> list[Found]:
    """Which of the texts stand in which tables of PostgreSQL, in any column, binary ones included."""
    found = []
    with database.read() as connection:
        for name in inspect(connection).get_table_names():
            _tell(progress, f"table {name}")
            quoted = connection.dialect.identifier_preparer.quote(name)
            for number, text_ in enumerate(texts):
                # A row as text doubles quotes and backslashes, so what lies between them is looked for; bytes are hex.
                parts = [part for part in text_.replace("\\", '"').split('"') if part]
                values = {f"part{at}": part for at, part in enumerate(parts)} | {"hex": text_.encode().hex()}
                plain = " AND ".join(f"strpos(held::text, :part{at}) > 0" for at in range(len(parts))) or "false"
                asked = text(f"SELECT 1 FROM {quoted} AS held WHERE ({plain}) OR strpos(held::text, :hex) > 0 LIMIT 1")
                if connection.execute(asked, values).first():
                    found.append(Found(f"table {name}", number))
    return found


async def in_topics(
    bootstrap: str, names: Iterable[str], partitions: int, texts: Sequence[str], progress: Progress | None = None
) -> list[Found]:
    """Which of the texts stand in which topics, in keys, values or headers of all that is still there.

    Each topic has so many ``partitions``; those that do not exist hold nothing.
    """
    needles = [_forms(text) for text in texts]
    found: set[tuple[str, int]] = set()
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False) as consumer:
        there = await consumer.topics()
        places = [TopicPartition(name, one) for name in names if name in there for one in range(partitions)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        left = set(places)
        _tell(progress, ", ".join(dict.fromkeys(f"topic {place.topic}" for place in places)))
        while left := {place for place in left if await consumer.position(place) < ends[place]}:
            for place, records in (await consumer.getmany(timeout_ms=_FETCH_MS)).items():
                for record in records:
                    held = _held(record)
                    found.update((place.topic, number) for number, forms in enumerate(needles) if _holds(held, forms))
    return [Found(f"topic {name}", number) for name, number in sorted(found)]


def _in_file(file: Path, needles: Sequence[Sequence[bytes]], longest: int) -> list[int]:
    left = dict(enumerate(needles))
    before = b""
    try:
        for chunk in _unpacked(file):
            held = before + chunk
            for number in [number for number, forms in left.items() if _holds(held, forms)]:
                del left[number]
            if not left:
                break
            before = held[-(longest - 1) :] if longest > 1 else b""
    except (zstd.ZstdError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise UnsearchableError(
            f"{file} cannot be unpacked ({error}): whether it holds any of it is not known"
        ) from error
    return sorted(set(range(len(needles))) - left.keys())


def _unpacked(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        begins = opened.read(len(_ZSTD))
    if begins.startswith(_PARQUET):
        for batch in _parquet(file).iter_batches():
            yield json.dumps(batch.to_pylist(), default=str, ensure_ascii=False).encode("utf-8", "surrogatepass")
        return
    opener: Any = zstd.open if begins == _ZSTD else gzip.open if begins.startswith(_GZIP) else open
    with opener(file, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _parquet(file: Path) -> Any:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError as error:
        raise UnsearchableError(
            f"{file} is Parquet, and what reads it is not installed: install engage-platform[parquet], then look again"
        ) from error
    try:
        return parquet.ParquetFile(file)
    except ArrowInvalid as error:
        raise UnsearchableError(f"{file} cannot be read ({error}): whether it holds any of it is not known") from error


def _forms(text_: str) -> list[bytes]:
    """How a text may stand in bytes: as it is, and as JSON escapes it, with letters beyond ASCII escaped or not."""
    return list(dict.fromkeys((text_.encode(), msgspec.json.encode(text_)[1:-1], json.dumps(text_)[1:-1].encode())))


def _holds(held: bytes, forms: Sequence[bytes]) -> bool:
    return any(form in held for form in forms)


def _held(record: Any) -> bytes:
    parts = [record.key, record.value, *(value for _, value in record.headers)]
    return b"\n".join(part for part in parts if part)


def _tell(progress: Progress | None, place: str) -> None:
    if progress is not None:
        progress(place)
