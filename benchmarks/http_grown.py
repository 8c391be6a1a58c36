"""Batches of 100 into a log that is no longer empty, against a bare loop into a table that holds the same rows.

Nobody's log is empty for long, and a unique index on random ids costs more the larger it is: each transaction of the
bare loop then writes about as many pages of the index as it has rows. So both begin with the same events, ours taken
in over HTTP, and each round adds as many to both. What is counted are the events from outside alone; ours writes what
its rules decide besides.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from benchmarks.http_bare import BareLog
from benchmarks.http_load import batches, events
from benchmarks.http_servers import engage, load
from engage.log.sqlite_seen import key

GROWN = 400_000
"""Events that both hold before anything is measured."""
_PORTION = 40_000
_SEEDS = 400
"""From which on no seed of events is another's."""


class Outside:
    """What comes from outside to the log in ``home``, as it is written there; close it."""

    def __init__(self, home: Path) -> None:
        self._db = sqlite3.connect(f"file:{home / 'log.db'}?mode=ro", uri=True)
        self._ends: dict[int, int] = {}

    def fresh(self) -> list[bytes]:
        """The values of the records that came since the last call."""
        ends = dict(self._db.execute("SELECT partition, end FROM partitions").fetchall())
        values: list[bytes] = []
        for partition, end in ends.items():
            places = key(partition, self._ends.get(partition, 0)), key(partition, end)
            wanted = "SELECT value FROM log WHERE position >= ? AND position < ? AND instr(value, ?)"
            values += [value for (value,) in self._db.execute(wanted, (*places, b'"source":"urn:shop'))]
        self._ends = ends
        return values

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def grown(note: Callable[[str, float], None], rounds: int, count: int, connections: int) -> None:
    """``rounds`` times ``count`` events to both, which have ``GROWN`` by then; ``note`` is told events a second.

    While the bare loop is measured engage stands still; while engage is, its read models are folded beside.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        engage(home := Path(folder)) as server,
        closing(BareLog(home)) as bare,
        closing(Outside(home)) as outside,
    ):
        for number in range(GROWN // _PORTION):
            load(server, batches(events(_PORTION, _SEEDS + number)), connections)
            with server.standing_still():
                bare.insert(outside.fresh(), 1_000)
        for number in range(rounds):
            requests = batches(events(count, 2 * _SEEDS + number))
            note("batches of 100 into a grown log", count / load(server, requests, connections).whole)
            with server.standing_still():
                came = outside.fresh()
                assert len(came) == count, f"{count - len(came)} of what was answered is not on the log"
                note("bare loop into a grown table", count / bare.insert(came, 100))
