"""Keys that stand twice in one JSON object: decoders keep the last, and which of them was meant nobody can tell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from engage.events.pointers import escaped

TWICE = "stands twice in its object: send it once"

ESCAPED_QUOTE = b"\\u0022"
"""How a quote may be written that ends no text."""

_MOST_BYTES = 1_000_000
"""As long a text is looked through: it takes a tenth of a second, and three where it is nothing but brackets."""
# In JSON a backslash stands in texts alone, and an even number of them before one leaves it an escape.
_ESCAPED = re.compile(rb"(?<!\\)(?:\\\\)*+\\u0022")
_encode = msgspec.json.Encoder().encode


class _Twice:
    """A key that stands twice, and the way to it from without, the last step first."""

    def __init__(self, key: str) -> None:
        self.way: list[str | int] = [key]


def repeated_key(text: bytes, shape: object, written: bytes | None = None, pointer: str = "") -> str | None:
    """A JSON pointer to a key that stands twice in its object within ``text``; None if there is none.

    ``shape`` is what ``text`` was decoded to, ``written`` that encoded anew, if it is at hand, ``pointer`` the pointer
    to ``text`` itself, which is all that is said of a text longer than an event may be. RecursionError for what is
    nested nearly too deeply to be decoded.
    """
    # Written anew, each key stands once: then there are fewer quotes. Those that were numbers are quotes there too.
    again = _encode(shape) if written is None else written
    quotes = text.count(b'"')
    if ESCAPED_QUOTE in text:
        quotes += sum(1 for _ in _ESCAPED.finditer(text))
    if quotes == again.count(b'"'):
        return None
    if len(text) > _MOST_BYTES:
        return pointer
    # Nothing is kept of objects but what was found: all of a long event would take some hundred times its bytes.
    found = _among([("", json.loads(text, object_pairs_hook=_in_object))])
    return None if found is None else "/".join([pointer, *(escaped(str(step)) for step in found.way[-2::-1])])


def _in_object(pairs: list[tuple[str, Any]]) -> _Twice | None:
    """What an object is read as."""
    if len(dict(pairs)) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                return _Twice(key)
            seen.add(key)
    return _among(pairs)


def _among(parts: Iterable[tuple[str | int, Any]]) -> _Twice | None:
    for step, part in parts:
        if part.__class__ is _Twice or part.__class__ is list:
            found = part if isinstance(part, _Twice) else _among(enumerate(part))
            if found is not None:
                found.way.append(step)
                return found
    return None
