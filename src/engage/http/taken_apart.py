"""A batch that is no JSON as a whole: taken apart all the same, so that one event nobody can read sinks no other."""

from __future__ import annotations

import re

MOST_TOKENS = 500_000
"""Brackets, commas and texts that are looked at: as many take a tenth of a second."""

_BATCH = re.compile(rb'"batch"\s*+:\s*+(?=\[)')
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[][{},"]', re.DOTALL)


def taken_apart(body: bytes) -> list[bytes] | None:
    """The items of the array ``body``, each as it stands there; None where nobody can tell where they end."""
    items, end = _items(body, 0)
    return None if body[end:].strip() else items


def batch_apart(body: bytes) -> tuple[list[bytes], bytes] | None:
    """The same of an object with a ``batch``: its items, and the object with an empty one."""
    found = _BATCH.search(body)
    if found is None:
        return None
    items, end = _items(body, found.end())
    return None if items is None else (items, body[: found.end()] + b"[]" + body[end:])


def _items(body: bytes, begin: int) -> tuple[list[bytes] | None, int]:
    """The items of the array that begins there, and where it ends."""
    items: list[bytes] = []
    depth, begins = 0, 0
    for number, found in enumerate(_TOKEN.finditer(body, begin)):
        token = found[0]
        if number > MOST_TOKENS or token == b'"':
            break
        if token in (b"[", b"{"):
            depth += 1
            begins = begins or found.end()
        elif token == b"," and depth == 1:
            items.append(body[begins : found.start()])
            begins = found.end()
        elif token in (b"]", b"}"):
            depth -= 1
            if depth == 0:
                items.append(body[begins : found.start()])
                return (items if token == b"]" else None), found.end()
    return None, len(body)
