"""The rows that this process wrote last, as they were folded: to go on with them, nothing is read back and decoded.

To fold with it is to fold with longer batches, and where the log is cut makes no difference to any row. It gives a row
away when it is asked for it, because folds change rows in place, and gets it back when the commit has succeeded: what
was handed to a fold or a commit that failed is not here any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engage.store.positions import Mark

MOST_ROWS = 24_000
"""Rows that are kept, of all read models of a projector together: 1.5 kB each of the demo, and three times as much when
accounts have lived for a year. They are what a live log's batches need; a history's meet other accounts each time."""


class RowCache:
    """Up to ``most`` rows by table, partition and key, those that were kept last. For one fold at a time."""

    def __init__(self, most: int = MOST_ROWS) -> None:
        self._half = most // 2
        self._marks: dict[tuple[str, int], Mark] = {}
        # Two halves: who is kept or asked for is in the young one; when that is full it becomes the old one, and what
        # was old is forgotten. To keep the exact order of use costs more than to load a few rows too many.
        self._young: dict[tuple[str, int], dict[str, Any]] = {}
        self._old: dict[tuple[str, int], dict[str, Any]] = {}
        self._count = 0

    def take(self, table: str, partition: int, mark: Mark | None, keys: Sequence[str]) -> dict[str, Any]:
        """Those of the rows that are here and are the caller's from now on; none if they are of another state.

        None stands for a row that is known not to exist.
        """
        place = table, partition
        if mark is None or self._marks.get(place) != mark:
            self.forget(table, partition)
            return {}
        old, young = self._old.get(place), self._young.get(place)
        found = {key: old.pop(key) for key in keys if key in old} if old else {}
        if young:
            ours = {key: young.pop(key) for key in keys if key in young}
            self._count -= len(ours)
            found |= ours
        return found

    def keep(
        self, table: str, partition: int, before: Mark, mark: Mark, rows: Mapping[str, Any], *, tables: int = 1
    ) -> None:
        """Keep what was written, as it stands in the table at ``mark``; None is a row that is not there.

        It was folded on what stood there at ``before``: rows that were kept at another state are not what stands there
        any more. The keys of these must have been asked for. So many rows of each of ``tables`` come with the same
        batch: where they do not fit, none is kept, for each table would push out the one before.
        """
        place = table, partition
        if len(rows) * tables > 2 * self._half:
            self.forget(table, partition)
            return
        if self._marks.get(place) != before:  # somebody else has written, and this batch asked for no row
            self.forget(table, partition)
        self._marks[place] = mark
        if not rows:
            return
        kept = self._young.setdefault(place, {})
        held = len(kept)
        kept.update(rows)
        self._count += len(kept) - held
        if self._count > self._half:
            self._old, self._young, self._count = self._young, {}, 0

    def forget(self, table: str, partition: int) -> None:
        """Keep nothing of a table on a partition."""
        place = table, partition
        self._marks.pop(place, None)
        self._old.pop(place, None)
        self._count -= len(self._young.pop(place, ()))
