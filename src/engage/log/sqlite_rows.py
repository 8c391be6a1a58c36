"""Many rows in one statement of SQLite.

With each step of a statement the driver lets go of the interpreter, and takes it back when another thread lets it have
it: row by row, a commit beside a busy event loop would wait a moment for each of its rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain

_SIZES = (192, 16)
"""Rows of a statement, and one for those that are left: few enough sizes to stay prepared (``CACHED``), and none with
more values than SQLite ever took (999)."""
CACHED = 256
"""Statements that a connection which writes rows so is to keep prepared; the driver keeps 128 by itself."""
Row = Sequence[object]

# The driver looks for a way to adapt each value that is bytes, and finds none: that took an eighth of a commit's time.
# Handed one that leaves them as they are, it has found it.
sqlite3.register_adapter(bytes, bytes)


def execute_rows(db: sqlite3.Connection, statement: str, rows: Sequence[Row]) -> int:
    """Do ``statement``, which ends where its rows of VALUES are to stand, for all ``rows``; how many it changed."""
    if not rows:
        return 0
    return execute_flat(db, statement, list(chain.from_iterable(rows)), len(rows[0]))


def execute_flat(db: sqlite3.Connection, statement: str, values: list[object], columns: int) -> int:
    """``execute_rows`` of rows whose values, so many a row, stand one behind the other."""
    start = changed = 0
    for size in (*_SIZES, len(values) // columns % _SIZES[-1]):
        width = size * columns
        while 0 < width <= len(values) - start:
            changed += db.execute(_written(statement, size, columns), values[start : start + width]).rowcount
            start += width
    return changed


@cache
def _written(statement: str, rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    closing = ")" * (statement.count("(") - statement.count(")"))
    return f"{statement} VALUES {', '.join([row] * rows)}{closing}"
