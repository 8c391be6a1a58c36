"""Keys that stand twice in one JSON object: decoders keep the last, and which of them was meant nobody can tell."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from engage.events.pointers import Place, pointer_to

TWICE = "stands twice in its object: send it once"

ESCAPED_QUOTE = b"\\u0022"
"""How a quote may be written that ends no text."""

_encode = msgspec.json.Encoder().encode


class _Pairs(list[Any]):
    """An object as it was written: pairs of a key and what it holds."""

    __slots__ = ()


def repeated_key(text: bytes, shape: object, written: bytes | None = None, pointer: str = "") -> str | None:
    """A JSON pointer to a key that stands twice in its object within ``text``; None if there is none.

    ``shape`` is what ``text`` was decoded to, ``written`` that encoded anew, if it is at hand, ``pointer`` the pointer
    to ``text`` itself. RecursionError for what is nested nearly too deeply to be decoded.
    """
    # Written anew, each key stands once: then there are fewer quotes, unless some of a text were escaped as numbers.
    again = _encode(shape) if written is None else written
    if text.count(b'"') == again.count(b'"') and ESCAPED_QUOTE not in text:
        return None
    waiting: list[tuple[Place, Any]] = [(None, json.loads(text, object_pairs_hook=_Pairs))]
    while waiting:
        place, part = waiting.pop()
        if isinstance(part, _Pairs):
            seen = set()
            for key, value in part:
                if key in seen:
                    return pointer_to((place, key), pointer)
                seen.add(key)
                if isinstance(value, list) and value:
                    waiting.append(((place, key), value))
        elif isinstance(part, list):
            waiting += [((place, at), value) for at, value in enumerate(part) if isinstance(value, list) and value]
    return None
