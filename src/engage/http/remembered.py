"""Accounts that are asked for again before anything has changed: the same answer, without folding it together again.

An answer holds as long as no transaction has changed the read models, which SQLite tells exactly, whoever changed them,
and for a second at most, because a score is as of its moment. Read models in PostgreSQL are always asked.
"""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec import Struct
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engage.http.guard import admit
from engage.http.problems import ProblemError
from engage.store.database import Database

PATH = "/v1/accounts/"
HOLDS = timedelta(seconds=1)
MOST_BYTES = 8_000_000
"""Answers of more bytes than this are not remembered at once."""


class _Route(Struct, frozen=True):
    path: str


_ROUTE = _Route(PATH + "{account:path}")


class Remembered:
    """ASGI middleware: answers ``GET`` of one account from memory where it still holds, else remembers the answer."""

    def __init__(self, app: ASGIApp, *, views: Database, clock: Callable[[], datetime]) -> None:
        self._app = app
        self._clock = clock
        self._file = Path(views.url.database) if views.sqlite and views.url.database else None
        self._db: sqlite3.Connection | None = None
        self._answers: dict[str, tuple[Message, Message]] = {}
        self._size = 0
        self._version = -1
        self._since = datetime.max.replace(tzinfo=UTC)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if self._file is None or not _is_one_account(scope):
            await self._app(scope, receive, send)
            return
        self._forget_what_changed()
        path = scope["path"]
        if (answer := self._answers.get(path)) is not None and await _may_read(scope):
            scope["route"] = _ROUTE
            start, body = answer
            await send({**start, "headers": list(start["headers"])})
            await send(body)
            return
        version, begun = self._version, dict[str, Message]()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                begun["start"] = {**message, "headers": list(message["headers"])}
            elif "start" in begun and not message.get("more_body") and version == self._version:
                self._keep(path, begun["start"], message)
            await send(message)

        await self._app(scope, receive, noting)

    def _forget_what_changed(self) -> None:
        if self._db is None:
            assert self._file is not None
            uri = f"{self._file.absolute().as_uri()}?mode=ro"
            self._db = sqlite3.connect(uri, uri=True, check_same_thread=False)
            weakref.finalize(self, self._db.close)
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        now = self._clock()
        if version != self._version or not timedelta() <= now - self._since < HOLDS:
            self._answers.clear()
            self._size, self._version, self._since = 0, version, now

    def _keep(self, path: str, start: Message, body: Message) -> None:
        self._size += len(body["body"]) + len(path)
        if self._size <= MOST_BYTES:
            self._answers[path] = (start, body)


def _is_one_account(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"]:
        return False
    path: str = scope["path"]
    return path.startswith(PATH) and "/" not in path[len(PATH) :]


async def _may_read(scope: Scope) -> bool:
    try:
        await admit(scope, "read")
    except ProblemError:
        return False  # whoever is asked next says so
    return True
