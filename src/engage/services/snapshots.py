"""Read models of the past in files: what was folded once for a moment is there again, and later moments begin there.

A file is a store of one read model and of what it is made of. All of them may be removed at any time: what they spare
is folded again.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from engage.log.contract import Log
from engage.services.verifying import needed
from engage.store.tables import ViewTable
from engage.store.views import SCHEMA, ViewStore
from engage.views.projection import ReadModel

_LEFT_SECONDS = 24 * 3600.0
"""What is half made after so long was left by a process that was killed."""


class SnapshotGoneError(LookupError):
    """It was there, and was dropped to make room: ask again, and it is folded again."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the snapshot of {name} was dropped to make room: ask again, and it is folded again")


class Snapshot(Struct, frozen=True):
    """All rows of a read model as a fold of the log up to ``positions``, by partition.

    ``moment``: until when time has passed for it, null where only records were folded. ``kind`` is the same for the
    same log, version and columns. ``erased`` keys were gone when it was begun. ``file`` is its name.
    """

    model: str
    version: int
    kind: str
    positions: dict[int, int]
    moment: datetime | None
    made: datetime
    erased: int
    file: str
    bytes: int

    @property
    def records(self) -> int:
        """How many positions it covers."""
        return sum(self.positions.values())


def kind_of(log: Log, model: ReadModel[Any]) -> str:
    """What a snapshot must agree in to be a fold of ``log`` into ``model`` as it is now."""
    shapes = [(one.name, one.version, ViewTable(one, sqlite=True).fingerprint) for one in needed(model)]
    told = msgspec.json.encode([SCHEMA, log.generation, log.partitions, shapes])
    return hashlib.blake2b(told, digest_size=12).hexdigest()


class Snapshots:
    """The snapshots in ``folder``, together of ``most_bytes`` at most, or one that is larger alone.

    ``erased`` says how many accounts' keys are gone by now: where one has gone since, a snapshot is of no use any more.
    Safe for several processes; every method is blocking.
    """

    def __init__(self, folder: Path, most_bytes: int, erased: Callable[[], int]) -> None:
        self.folder = folder
        self._most = most_bytes
        self.erased = erased

    def all(self) -> list[Snapshot]:
        """Those that are of use, by read model and how far they reach; the others are dropped."""
        erased, found = self.erased(), list[Snapshot]()
        for path in self.folder.glob("*.json"):
            with suppress(OSError, msgspec.MsgspecError):
                one = msgspec.json.decode(path.read_bytes(), type=Snapshot)
                if one.erased == erased and (self.folder / one.file).exists():
                    found.append(one)
                    continue
            self._remove(path.stem)
        return sorted(found, key=lambda one: (one.model, one.records, one.moment is not None))

    def at(self, kind: str, positions: Mapping[int, int], moment: datetime) -> Snapshot | None:
        """The one that is the read model at ``moment``, whose log ended at ``positions``."""
        asked = (kind, dict(positions), moment)
        return self._used(next((one for one in self.all() if (one.kind, one.positions, one.moment) == asked), None))

    def before(self, kind: str, positions: Mapping[int, int]) -> Snapshot | None:
        """The one that reaches furthest without passing ``positions``, to be folded on from there."""
        fitting = [
            one
            for one in self.all()
            if one.kind == kind
            and one.moment is None
            and all(one.positions.get(partition, 0) <= end for partition, end in positions.items())
        ]
        return self._used(max(fitting, key=lambda one: one.records, default=None))

    @contextmanager
    def workplace(self) -> Iterator[Path]:
        """A folder to fold in, gone afterwards; what killed processes have left of theirs goes too."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self.folder.glob("work-*"):
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
                    shutil.rmtree(left)
        with tempfile.TemporaryDirectory(prefix="work-", dir=self.folder) as folder:
            yield Path(folder)

    def copy(self, snapshot: Snapshot, to: Path) -> bool:
        """Copy its store to the file ``to``; False if it has gone."""
        try:
            shutil.copyfile(self.folder / snapshot.file, to)
        except FileNotFoundError:
            return False
        return True

    @contextmanager
    def opened(self, snapshot: Snapshot) -> Iterator[ViewStore]:
        """Its store, to be read; SnapshotGoneError if it has gone. It stays as long as it is open."""
        with self.workplace() as folder:
            try:
                os.link(self.folder / snapshot.file, folder / "views.db")
            except FileNotFoundError as error:
                raise SnapshotGoneError(snapshot.model) from error
            with closing(ViewStore(f"sqlite:///{folder / 'views.db'}", read_only=True)) as store:
                yield store

    def keep(self, store: Path, model: ReadModel[Any], about: Mapping[str, Any]) -> Snapshot:
        """Keep a copy of the closed ``store`` of ``model``; ``about`` are the snapshot's other fields."""
        name = f"{model.name}-{sum(about['positions'].values())}-{secrets.token_hex(6)}"
        with self.workplace() as folder:
            copied = folder / f"{name}.db"
            shutil.copyfile(store, copied)
            with closing(sqlite3.connect(copied)) as database:
                database.execute("PRAGMA journal_mode=delete")  # nothing beside it, so that it can be linked
            kept = Snapshot(
                **about, model=model.name, version=model.version, file=copied.name, bytes=copied.stat().st_size
            )
            (folder / f"{name}.json").write_bytes(msgspec.json.encode(kept))
            copied.replace(self.folder / copied.name)
            (folder / f"{name}.json").replace(self.folder / f"{name}.json")
        self._make_room(kept)
        return kept

    def drop(self, models: Collection[str] | None = None) -> int:
        """Drop those of ``models``, or all and whatever lies beside them; how many there were."""
        dropped = [one for one in self.all() if models is None or one.model in models]
        left = () if models is not None else (*self.folder.glob("*.json"), *self.folder.glob("*.db"))
        for name in {Path(one.file).stem for one in dropped} | {path.stem for path in left}:
            self._remove(name)
        return len(dropped)

    def _used(self, snapshot: Snapshot | None) -> Snapshot | None:
        if snapshot is not None:
            with suppress(FileNotFoundError):
                os.utime(self.folder / snapshot.file)
        return snapshot

    def _make_room(self, newest: Snapshot) -> None:
        """Drop what was not used for the longest time, as far as there is too much."""
        others = sorted((one for one in self.all() if one.file != newest.file), key=self._last_used)
        too_many = newest.bytes + sum(one.bytes for one in others) - self._most
        for one in others:
            if too_many <= 0:
                return
            self._remove(Path(one.file).stem)
            too_many -= one.bytes

    def _last_used(self, snapshot: Snapshot) -> float:
        with suppress(FileNotFoundError):
            return (self.folder / snapshot.file).stat().st_mtime
        return 0.0

    def _remove(self, name: str) -> None:
        for path in (self.folder / f"{name}.json", self.folder / f"{name}.db"):
            path.unlink(missing_ok=True)
