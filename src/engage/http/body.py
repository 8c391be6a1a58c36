"""Request bodies: read up to a limit, and taken for what their media type says."""

from __future__ import annotations

from email.message import Message
from typing import TypeVar

import msgspec
from fastapi import Request
from msgspec import Struct

from engage.events.plain_words import plain
from engage.events.validation import Fault
from engage.http.problems import ProblemError, faulty

MAX_BYTES = 16_000_000
"""A body may be this long; larger batches are sent as several."""

S = TypeVar("S", bound=Struct)


async def read_body(request: Request, most: int = MAX_BYTES) -> bytes:
    """The whole body; 413 as soon as it is known to be longer than ``most`` bytes."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise _too_large(most)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise _too_large(most)
    return bytes(body)


def media_type(request: Request) -> str:
    """The body's media type in small letters, empty if none is given; 415 for a charset that is not UTF-8."""
    header = Message()
    header["content-type"] = request.headers.get("content-type", "")
    charset = header.get_content_charset("utf-8")
    if charset not in ("utf-8", "us-ascii"):
        raise ProblemError(415, f"the charset {charset!r} is not taken: send UTF-8")
    return header.get_content_type() if request.headers.get("content-type") else ""


def _too_large(most: int) -> ProblemError:
    return ProblemError(413, f"the body may have {most:,} bytes: send large batches as several requests")


async def read_struct(request: Request, kind: type[S]) -> S:
    """The body as a ``kind``; 415, 400 or 422 say what is wrong with it."""
    if media_type(request) != "application/json":
        raise ProblemError(415, "send JSON, with Content-Type: application/json")
    body = await read_body(request, most=100_000)
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        path, words = plain(error, msgspec.json.decode(body), kind)
        pointer = "".join(f"/{part}" for part in path)
        raise faulty(f"the body does not fit: {pointer or 'it'}: {words}", [Fault(pointer, words)]) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(400, f"the body is not JSON in UTF-8: {error}") from error
