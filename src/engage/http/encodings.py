"""Content codings of request bodies: gzip and zstd, never unpacked beyond what a body may have."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from typing import Any

from engage.http.problems import ProblemError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_PARTS = 10_000
_FIRST_BYTES = 1_024
_GZIP = 16 + zlib.MAX_WBITS
_WINDOW_LOG = 23
"""Frames of zstd with a window of up to 8 MB are taken, as RFC 8878 recommends: what is larger costs memory unasked."""
_OPTIONS = {int(zstd.DecompressionParameter.window_log_max): _WINDOW_LOG}


def decoded(body: bytes, coding: str, most: int) -> bytes:
    """The body as it was before ``coding`` (the Content-Encoding) was put on it, of up to ``most`` bytes.

    ProblemError: 415 for a coding that is not taken, 400 for a body that is broken, 413 for one that is too long.
    """
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return body
    unpacker = _CODINGS.get(coding.removeprefix("x-"))
    if unpacker is None:
        raise ProblemError(
            415,
            f"the Content-Encoding {coding!r} is not taken: send {', '.join(_CODINGS)} or none",
            {"accept-encoding": ", ".join(_CODINGS)},
        )
    try:
        whole = _unpacked(body, unpacker, most + 1)
    except (zlib.error, zstd.ZstdError, EOFError) as error:
        raise ProblemError(400, f"the body is not what {coding} makes, or not all of it: {error}") from error
    if len(whole) > most:
        raise too_large(most)
    return whole


def too_large(most: int) -> ProblemError:
    """What is said to a body that is longer than ``most`` bytes, or was before it was packed."""
    return ProblemError(413, f"the body may have {most:,} bytes: send large batches as several requests")


def _unpacked(body: bytes, unpacker: Callable[[], Any], most: int) -> bytes:
    """Every part of ``body`` (gzip's members, zstd's frames), one after the other, as far as ``most`` bytes.

    A part is fed bit by bit, each twice as long as the one before: many small parts then cost no more than a large one.
    """
    whole = bytearray()
    place, view = 0, memoryview(body)
    for _ in range(_PARTS):
        part, size = unpacker(), _FIRST_BYTES
        while not part.eof:
            if place == len(body):
                raise EOFError("it ends before its end")
            given = view[place : place + size]
            whole += part.decompress(given, most - len(whole))
            if len(whole) >= most:
                return bytes(whole)
            place += len(given) - len(part.unused_data)
            size *= 2
        if place == len(body):
            return bytes(whole)
    raise EOFError(f"it has more than {_PARTS:,} parts")


_CODINGS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(_GZIP),
    "zstd": lambda: zstd.ZstdDecompressor(options=_OPTIONS),
}
