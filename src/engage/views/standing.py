"""What a read model tells the log once of how its rows stand, where it was silent while they came to be so."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from engage.events.named_ids import named_id
from engage.views.projection import Projection
from engage.views.walk import Announced

_NAMESPACE = uuid.UUID("5a1f4c0b-7d86-4c2e-9c55-1d0c3b8f2e67").bytes


def standings(model: Projection[Any], rows: Iterable[Any], partition: int, offset: int) -> list[Announced]:
    """What is to be said of these rows, by key, as of ``offset``; the same ids for the same standing since a moment."""
    assert model.standing is not None, "asked only of those that have something to say"
    key, found = model.row.__struct_fields__[0], []
    for row in rows:
        for data, since in model.standing(row):
            subject = getattr(row, key)
            identity = named_id(_NAMESPACE, "\n".join((model.name, subject, repr(data), since.isoformat())))
            found.append(Announced(identity, subject, data, since, partition, offset, None))
    return sorted(found, key=lambda one: one.subject)
