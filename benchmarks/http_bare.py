"""What engage's HTTP is held against: a bare Starlette application, and a bare loop over SQLite."""

from __future__ import annotations

import hashlib
import socket
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def rows(told: Sequence[bytes], batch: int) -> float:
    """Rows a second into a table with a unique 16-byte id: a transaction a batch, synced before the next one."""
    prepared = [(number, number, hashlib.md5(value).digest(), value) for number, value in enumerate(told)]
    with tempfile.TemporaryDirectory() as folder:
        db = sqlite3.connect(Path(folder) / "bare.db", isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE log (position INTEGER PRIMARY KEY, recorded INTEGER, id BLOB, value BLOB)")
        db.execute("CREATE UNIQUE INDEX ids ON log (id)")
        begin = time.perf_counter()
        for start in range(0, len(prepared), batch):
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", prepared[start : start + batch])
            db.execute("COMMIT")
        took = time.perf_counter() - begin
        db.close()
        return len(prepared) / took


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
