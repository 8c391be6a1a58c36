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

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engage.store.database import Database

PATH = "/v1/accounts/"
ACCOUNT = PATH + "{account:path}"
"""The route of one account, as figures name it."""
HOLDS = timedelta(seconds=1)
MOST_BYTES = 8_000_000
"""Answers of more bytes than this are not remembered at once."""


class Remembered:
    """The answers to ``GET`` of one account that still hold, by path."""

    def __init__(self, *, views: Database, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._file = Path(views.url.database) if views.sqlite and views.url.database else None
        self._db: sqlite3.Connection | None = None
        self._answers: dict[str, tuple[Message, Message]] = {}
        self._size = 0
        self._version = -1
        self._since = datetime.max.replace(tzinfo=UTC)

    def answer(self, scope: Scope) -> tuple[Message, Message] | None:
        """What was answered to the same request, as it begins and its body, where that still holds."""
        if self._file is None or not _is_one_account(scope):
            return None
        self._forget_what_changed()
        return self._answers.get(_path(scope))

    def noting(self, scope: Scope, send: Send) -> Send:
        """Sends as ``send`` does, and remembers the answer if it is one that may be asked for again."""
        if self._file is None or not _is_one_account(scope):
            return send
        path, version, begun = _path(scope), self._version, dict[str, Message]()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                begun["start"] = {**message, "headers": list(message["headers"])}
            elif "start" in begun and not message.get("more_body") and version == self._version:
                self._keep(path, begun["start"], message)
            await send(message)

        return noting

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


class Remembering:
    """ASGI middleware: what is answered from here on is remembered."""

    def __init__(self, app: ASGIApp, *, remembered: Remembered) -> None:
        self._app = app
        self._remembered = remembered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        await self._app(scope, receive, self._remembered.noting(scope, send))


def _is_one_account(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"]:
        return False
    path = _path(scope)
    return path.startswith(PATH) and "/" not in path[len(PATH) :]


def _path(scope: Scope) -> str:
    """The path as it was sent: an id with a slash in it is one id."""
    raw: bytes | None = scope.get("raw_path")
    path: str = scope["path"] if raw is None else raw.decode("latin-1")
    return path
