"""What other processes tell of read models that have moved, heard by PostgreSQL's LISTEN for as long as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import psycopg
import structlog
from sqlalchemy import URL

from engage.store.view_news import MOVED, reached_in

_RECONNECT_SECONDS = 1.0

_logger = structlog.get_logger(__name__)


async def hear(url: URL, tell: Callable[[Mapping[tuple[str, int], int] | None], object], heard: asyncio.Event) -> None:
    """Without an end: ``tell`` is called with how far views have come, by name and partition, None if it is not said.

    ``heard`` is set while it can be heard. What was said while it could not is made up for by a call with None.
    """
    where = url.set(drivername="postgresql").render_as_string(hide_password=False)
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(where, autocommit=True) as connection:
                await connection.execute(f"LISTEN {MOVED}")
                heard.set()
                tell(None)
                async for word in connection.notifies():
                    tell(reached_in(word.payload))
        except psycopg.Error as error:
            heard.clear()
            _logger.warning("cannot hear other processes' views move, those who wait look again", error=str(error))
        await asyncio.sleep(_RECONNECT_SECONDS)
