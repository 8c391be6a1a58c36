"""Old data in today's shape: pure steps from version N to N + 1, run when a record is read and when one arrives."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from engage.events.catalogue.base import EventType


class UpcastError(ValueError):
    """The data's version is newer than engage knows, has no upcaster, or data that its upcaster cannot take.

    Update engage, or publish a known version.
    """


def upcast(kind: EventType, version: int, data: Raw) -> Raw:
    """``data`` of ``version`` as raw JSON in the catalogue's version of ``kind``; UpcastError if no way leads there."""
    if version == kind.version:
        return data
    if version > kind.version:
        raise UpcastError(f"{kind.name!r} has version {kind.version} here, the event says version {version}")
    shape: dict[str, Any] = msgspec.json.decode(data)
    raw = data
    for step in range(version, kind.version):
        if step not in kind.data.upcasters:
            raise UpcastError(f"{kind.name!r} has no upcaster from version {step} to {step + 1}")
        try:
            shape = kind.data.upcasters[step](shape)
            raw = Raw(msgspec.json.encode(shape))
        except Exception as error:
            # Whatever it is: one event's data must not stop those beside it. What it says may name a person.
            raise UpcastError(
                f"{kind.name!r}: its data of version {step} cannot be brought to version {step + 1} "
                f"({type(error).__name__} in the upcaster)"
            ) from error
    return raw
