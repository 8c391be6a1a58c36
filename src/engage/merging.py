"""Merges the write-ahead log of a SQLite file into it bit by bit, in a thread beside whoever commits.

SQLite has the commit that makes it long enough do all of it, and sync the file: everybody who publishes, or waits for
a view, would wait for that. So little is left for that commit, which begins the write-ahead log anew where nobody reads
what is in it. Where somebody always does, it would grow for ever: past a size readers are waited for.
"""

from __future__ import annotations

import contextlib
import sqlite3
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

_WAIT_SECONDS = 0.1
"""How long those who read then are waited for, and who commits waits: nobody reads for that long but for a history."""


class Merging:
    """Of the file at ``path``, every so many ``pages``; ``wrote`` is called by who commits.

    Once there are ``most`` pages in the write-ahead log it is begun anew; if somebody reads for too long, when it has
    twice as many. ``writing`` is held meanwhile: it has who commits wait, where he would be there first each time.
    """

    def __init__(
        self, path: Path, pages: int, most: int, writing: AbstractContextManager[object] | None = None
    ) -> None:
        self._pages = pages
        self._writing = writing or nullcontext()
        self._most = self._next = most
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_WAIT_SECONDS)
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
            _, written, _ = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if written >= self._next:
                with self._writing:
                    busy, written, _ = self._db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
                self._next = 2 * written if busy else self._most
