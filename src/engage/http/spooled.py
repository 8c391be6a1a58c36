"""A long answer that is made as fast as the database gives it and sent as fast as the client takes it.

Between the two lies a temporary file: so the transaction in which a whole table is read lasts no longer than reading
it takes, however slow the client is, and memory stays the same. A client that takes nothing for a while is let go.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import structlog
from fastapi.responses import StreamingResponse
from starlette.types import Message, Send

PATIENCE_SECONDS = 30.0
"""A client that takes nothing for this long is not there any more."""
_PIECE_BYTES = 64 * 1024
_WRITERS = ThreadPoolExecutor(2, "engage-tables")
"""Threads of their own: those that everything else waits for must not be taken up by whole tables."""

_log = structlog.get_logger(__name__)

Pieces = Callable[[], AbstractContextManager[Iterator[bytes]]]


class PatientResponse(StreamingResponse):
    """A streaming response that lets a client go which takes nothing for ``patience`` seconds."""

    def __init__(
        self,
        content: AsyncIterator[bytes],
        *,
        media_type: str,
        headers: Mapping[str, str] | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        super().__init__(content, media_type=media_type, headers=headers)
        self._patience = patience

    async def stream_response(self, send: Send) -> None:
        """Send it; where the client has gone to sleep it is left unfinished, and the server ends the connection."""

        async def send_soon(message: Message) -> None:
            async with asyncio.timeout(self._patience):
                await send(message)

        try:
            await super().stream_response(send_soon)
        except TimeoutError:
            _log.warning("a client took nothing any more and is let go", seconds=self._patience)


async def spooled(pieces: Pieces) -> AsyncIterator[bytes]:
    """The bytes of ``pieces``, whose context is left as soon as all are written down, or nobody wants them any more."""
    loop, grown = asyncio.get_running_loop(), asyncio.Event()
    wanted, written = True, 0
    with tempfile.TemporaryFile() as file:

        def write() -> None:
            nonlocal written
            with pieces() as found:
                for piece in found:
                    if not wanted:
                        return
                    file.write(piece)
                    file.flush()
                    written += len(piece)
                    loop.call_soon_threadsafe(grown.set)

        writing = loop.run_in_executor(_WRITERS, write)
        writing.add_done_callback(lambda _: grown.set())
        sent = 0
        try:
            while True:
                grown.clear()
                done = writing.done()
                if sent < written:
                    piece = os.pread(file.fileno(), _PIECE_BYTES, sent)
                    sent += len(piece)
                    yield piece
                elif done:
                    await writing
                    return
                else:
                    await grown.wait()
        finally:
            wanted = False
            await asyncio.wait([writing])  # it writes to the file that is about to go
