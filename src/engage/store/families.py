"""Which read models stand or fall together, and what the tables are called that are not the live ones.

An aggregate takes shares from the rows of a projection as they change, so the two are made, folded and begun anew
together, or the sums would not be those of the rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from engage.views.aggregate import Aggregate
from engage.views.projection import ReadModel

Family = tuple[ReadModel[Any], ...]
"""A projection and the aggregates of it, or an aggregate of events alone."""

Slot = Literal["live", "next", "previous"]
"""Readers read what is live; the next one is being built beside it; the previous one is kept to be put back."""


def slotted(name: str, slot: Slot) -> str:
    """What a read model's table is called, and what its positions go by."""
    return name if slot == "live" else f"{name}__{slot}"


def families(models: Iterable[ReadModel[Any]]) -> list[Family]:
    """The families among ``models``, in the order of their first members."""
    found: dict[ReadModel[Any], list[ReadModel[Any]]] = {}
    for model in models:
        found.setdefault(_head(model), []).append(model)
    return [tuple(members) for members in found.values()]


def family_of(model: ReadModel[Any], among: Iterable[ReadModel[Any]]) -> Family:
    """The family of ``model``, as far as it is among these."""
    return tuple(one for one in among if _head(one) is _head(model))


def _head(model: ReadModel[Any]) -> ReadModel[Any]:
    return model.of if isinstance(model, Aggregate) and model.of is not None else model
