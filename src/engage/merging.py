"""Merges the write-ahead log of a SQLite file into it bit by bit, in a thread beside whoever commits.

SQLite has the commit that makes it long enough do all of it, and sync the file: everybody who publishes, or waits for
a view, would wait for that. So little is left for that commit, which alone can begin the write-ahead log anew.
"""

from __future__ import annotations

import contextlib
import sqlite3
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path


class Merging:
    """Of the file at ``path``, every so many ``pages``; ``wrote`` is called by who commits."""

    def __init__(self, path: Path, pages: int) -> None:
        self._pages = pages
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._thread = ThreadPoolExecutor(1, "engage-merge")
        self._wrote = 0
        self._under_way: Future[None] | None = None

    def wrote(self, pages: int) -> None:
        """So many pages, about, have been committed: merge what there is if that makes it enough."""
        self._wrote += pages
        if self._wrote >= self._pages and (self._under_way is None or self._under_way.done()):
            self._wrote = 0
            self._under_way = self._thread.submit(self._merge)

    def close(self) -> None:
        """Finish what is being merged."""
        self._thread.shutdown()
        self._db.close()

    def _merge(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # a full disk is for whoever commits to tell: nothing is lost here
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
