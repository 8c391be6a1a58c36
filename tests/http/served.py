"""A service that really listens, in the test's own loop: for answers that never end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn

from engage.http.app import create_app
from engage.services.platform import Platform

PATIENCE = 20.0


@asynccontextmanager
async def served(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the platform's application, which does no work of its own."""
    app = create_app(platform, works=False, local_only=True)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = asyncio.create_task(server.serve([listening]))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False) as client:
                yield client
        finally:
            platform.waiting.close()
            server.should_exit = True
            await running
            platform.waiting.closed = False
