"""Request bodies: read up to a limit and within a time, unpacked, and taken for what their media type says."""

from __future__ import annotations

import asyncio
from email.message import Message
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from fastapi import Request
from msgspec import Struct

from engage.events.envelope import JSON
from engage.events.plain_words import plain
from engage.events.repeated_keys import TWICE, repeated_key
from engage.events.validation import Fault
from engage.http.encodings import decoded, too_large
from engage.http.head import header_of
from engage.http.pressure import Held
from engage.http.problems import ProblemError, faulty

MAX_BYTES = 16_000_000
"""A body may be this long, unpacked; larger batches are sent as several."""
MOST_EVENTS = 100_000
"""As many may be in one body: of what is hardly an event each takes a hundred times its own bytes to be refused."""
SECONDS = 30.0
"""How long a body may take to arrive."""

S = TypeVar("S", bound=Struct)


async def read_body(request: Request, most: int = MAX_BYTES, *, held: Held | None = None) -> bytes:
    """The whole body, unpacked: 413 as soon as it is known to be longer than ``most`` bytes, 408 if it takes too long.

    ``held`` is where its bytes are counted as they come.
    """
    body = await received(request, most, held)
    coding = header(request, b"content-encoding")
    if not coding:
        return body
    unpacked = decoded(body, coding, most)
    if held is not None:
        held.grow(len(unpacked))
    return unpacked


async def received(request: Request, most: int, held: Held | None = None) -> bytes:
    """The whole body as it was sent.

    For the first of its bytes the server waits (``http.protocol``): most bodies are there by then, and a time limit
    that nobody needs costs as much as checking an event.
    """
    if announced(request) > most:
        raise too_large(most)
    body = bytearray()
    more = await _receive(request, body, most, held)
    if more:
        try:
            async with asyncio.timeout(SECONDS):
                while more:
                    more = await _receive(request, body, most, held)
        except TimeoutError:
            said = f"the body did not come within {SECONDS:.0f} s, {len(body):,} bytes of it did: send it again"
            raise ProblemError(408, said, {"connection": "close"}) from None
    return bytes(body)


async def _receive(request: Request, body: bytearray, most: int, held: Held | None) -> bool:
    """Put what comes next behind ``body``; whether there is more."""
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ProblemError(400, f"the connection ended after {len(body):,} bytes of the body")
    chunk: bytes = message.get("body", b"")
    body += chunk
    if len(body) > most:
        raise too_large(most)
    if held is not None:
        held.grow(len(chunk))
    return bool(message.get("more_body", False))


def must_not_be_more(events: int) -> None:
    """ProblemError (413) for more events than one body may hold."""
    if events > MOST_EVENTS:
        raise ProblemError(413, f"a body may hold {MOST_EVENTS:,} events, this one has {events:,}: send several")


def announced(request: Request) -> int:
    """How long the body is by its Content-Length; 0 where that is not said."""
    length = header(request, b"content-length")
    return int(length) if length.isdecimal() else 0


def header(request: Request, name: bytes) -> str:
    """A header of the request, ``name`` in small letters; empty if there is none."""
    found = header_of(request.scope, name)
    return "" if found is None else found.decode("latin-1")


def media_type(request: Request) -> str:
    """The body's media type in small letters, empty if none is given; 415 for a charset that is not UTF-8."""
    return media_of(header(request, b"content-type"))


def media_of(said: str) -> str:
    """``media_type`` of what the header says."""
    media, charset = _media_type(said)
    if charset not in ("utf-8", "us-ascii"):
        raise ProblemError(415, f"the charset {charset!r} is not taken: send UTF-8")
    return media


@lru_cache(256)
def _media_type(said: str) -> tuple[str, str]:
    """Media type and charset; the few that are in use are told apart once."""
    header = Message()
    header["content-type"] = said
    return header.get_content_type() if said else "", str(header.get_content_charset("utf-8"))


def parsed(body: bytes, what: str = "the body") -> Any:
    """What the JSON of a body says; 400 for what is none, or has a key twice in one object."""
    try:
        shape = msgspec.json.decode(body)
        pointer = repeated_key(body, shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(400, f"{what} is not JSON in UTF-8: {error}") from error
    if pointer is not None:
        raise ProblemError(400, f"{pointer or f'a key within {what}'} {TWICE}", faults=[Fault(pointer, TWICE)])
    return shape


async def read_struct(request: Request, kind: type[S]) -> S:
    """The body as a ``kind``; 415, 400 or 422 say what is wrong with it."""
    if media_type(request) != JSON:
        raise ProblemError(415, "send JSON, with Content-Type: application/json")
    body = await read_body(request, most=100_000)
    shape = parsed(body)  # all of it: a typed decoder passes over what it does not know
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        path, words = plain(error, shape, kind)
        pointer = "".join(f"/{part}" for part in path)
        raise faulty(f"the body does not fit: {pointer or 'it'}: {words}", [Fault(pointer, words)]) from error
