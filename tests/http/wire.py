"""The application behind a real socket, as ``engage up`` serves it, and what is sent there byte by byte."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI

from engage.http.protocol import Protocol
from tests.http.given import order

BODY = json.dumps(order()).encode()
HEAD = b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/cloudevents+json\r\n"


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[int]:
    """The port where ``app`` is served as ``engage up`` does."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, http=Protocol, lifespan="off", log_config=None, access_log=False)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve([listening]))
        while not server.started:
            await asyncio.sleep(0)
        yield listening.getsockname()[1]
        server.should_exit = True
        await serving


async def sent(port: int, *parts: bytes, end: bool = False) -> bytes:
    """What is answered until the connection ends, or for ``end`` until we have ended our side."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await asyncio.sleep(0.001)
    if end:
        writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def request(body: bytes = BODY, length: int | None = None, close: bool = True) -> bytes:
    said = len(body) if length is None else length
    ends = b"connection: close\r\n" if close else b""
    return HEAD + b"content-length: %d\r\n" % said + ends + b"\r\n" + body
