"""JSON pointers (RFC 6901) to the parts of a shape: written out for those alone that are told of.

To write one for every part takes memory and time that grow with the square of a body's length: one long key around
many small parts, and 120 kB took a gigabyte.
"""

from __future__ import annotations

from typing import TypeAlias

Place: TypeAlias = "tuple[Place, str | int] | None"
"""Where a part stands: the place of what holds it, and its key or number there; None is the whole."""


def pointer_to(place: Place, whole: str = "") -> str:
    """The pointer to ``place`` within what stands at the pointer ``whole``."""
    parts: list[str] = []
    while place is not None:
        place, part = place
        parts.append(escaped(str(part)))
    return "/".join([whole, *reversed(parts)])


def escaped(part: str) -> str:
    """A key as it stands in a pointer."""
    return part.replace("~", "~0").replace("/", "~1")
