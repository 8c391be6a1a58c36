"""What engage's HTTP is held against: a bare Starlette application, and a bare loop over SQLite."""

from __future__ import annotations

import hashlib
import socket
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


class BareLog:
    """A table with a unique 16-byte id, its pragmas as SQLite has them but for the durability; close it.

    With pages and cache as engage has them it is slower, once the index has grown.
    """

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / "bare.db", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE log (position INTEGER PRIMARY KEY, recorded INTEGER, id BLOB, value BLOB)")
        self._db.execute("CREATE UNIQUE INDEX ids ON log (id)")
        self._count = 0

    def insert(self, values: Sequence[bytes], batch: int) -> float:
        """Seconds that it takes to insert them, a transaction a ``batch``, synced before the next one."""
        rows = [
            (number, number, hashlib.md5(value).digest(), value) for number, value in enumerate(values, self._count)
        ]
        self._count += len(rows)
        begin = time.perf_counter()
        for start in range(0, len(rows), batch):
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", rows[start : start + batch])
            self._db.execute("COMMIT")
        return time.perf_counter() - begin

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def rows(told: Sequence[bytes], batch: int) -> float:
    """Rows a second into an empty table."""
    with tempfile.TemporaryDirectory() as folder, closing(BareLog(Path(folder))) as log:
        return len(told) / log.insert(told, batch)


async def parse(request: Request) -> Response:
    """Parse, and keep nothing."""
    msgspec.json.decode(await request.body())
    return Response(b'{"taken":1}', media_type="application/json")


def application(told: bytes) -> Starlette:
    """``POST`` parses and keeps nothing; ``GET`` answers ``told``."""

    async def same(_: Request) -> Response:
        return Response(told, media_type="application/json")

    return Starlette(routes=[Route("/v1/events", parse, methods=["POST"]), Route("/v1/accounts/{account}", same)])


def main() -> None:
    """Serve on a free port of the loopback, and say which; standard input holds what ``GET`` answers."""
    told = sys.stdin.buffer.read()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sys.stdout.write(f"{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        config = uvicorn.Config(application(told), log_level="warning", access_log=False)
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
