"""Lets read models stand still and go on: a family together, in every process that projects, across restarts.

Readers go on reading a paused one as it stands; it does not count as behind where readiness is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from engage.store.families import family_of
from engage.store.pauses import Paused
from engage.store.views import ViewStore
from engage.views.projection import ReadModel


class Pausing(Struct, frozen=True):
    """What became of a word to pause or resume: ``names`` of the family, how it is or was ``paused``, if anything."""

    names: list[str]
    paused: Paused | None
    changed: bool


def pause(
    store: ViewStore, models: Sequence[ReadModel[Any]], model: ReadModel[Any], *, by: str, at: datetime
) -> Pausing:
    """Pause ``model`` of these, its family with it; one that is paused stays so, since then and by whom it was."""
    family = family_of(model, models)
    wanted = Paused(at, by)
    paused = store.pause(family, wanted)
    return Pausing([one.name for one in family], paused, paused == wanted)


def resume(store: ViewStore, models: Sequence[ReadModel[Any]], model: ReadModel[Any]) -> Pausing:
    """Let ``model`` go on, its family with it, from where it stands."""
    family = family_of(model, models)
    was = store.resume(family)
    return Pausing([one.name for one in family], was, was is not None)
