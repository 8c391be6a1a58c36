"""What a read model is: a name, a version, typed columns, and one fold per event type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from msgspec import Struct

from engage.events.catalogue import type_of
from engage.events.catalogue.base import EventData
from engage.events.envelope import Event

R = TypeVar("R", bound=Struct)
D = TypeVar("D", bound=EventData)

Fold = Callable[[Any, Event[Any]], Any]
Key = Callable[[Event[Any]], str | None]


class Projection(Generic[R]):
    """A read model: rows of ``row`` (a Struct, a field a column, explained in its docstring), folded from the log.

    A row's first field is its key, a string; every other field has a default. ``Meta(description=...)`` of a field, or
    a line ``field: what it says`` in the row's docstring, becomes the column's comment.

    ``key`` says which row an event belongs to (default: the event's ``subject``); None means that the event is not for
    this model. A fold gets the row (a fresh ``row(key)`` if there is none yet) and the event, and returns the row to
    keep or None to delete it. Folds are pure: ``event.now`` is the time.

    A key belongs to one partition: a model across accounts has the event's ``partition`` in its key, a row a partition.
    ``append_only`` says that an event makes a row of its own: its fold always gets a fresh row, nothing is ever loaded,
    and None means that this event makes no row. ``indexes`` are the columns that readers filter and sort by, each a
    column's name or several in order: ``("status", ("account", "recorded"))``.
    """

    def __init__(
        self,
        name: str,
        *,
        version: int,
        row: type[R],
        key: Key | None = None,
        append_only: bool = False,
        indexes: Sequence[str | tuple[str, ...]] = (),
    ) -> None:
        self.name = name
        self.version = version
        self.row = row
        self.key: Key = key or _subject
        self.append_only = append_only
        self.indexes = tuple((columns,) if isinstance(columns, str) else columns for columns in indexes)
        self.folds: dict[str, Fold] = {}
        self.fold_any: Fold | None = None

    def on(self, *kinds: type[D]) -> Callable[[Callable[[R, Event[D]], R | None]], Fold]:
        """Fold events of these types with the decorated ``(row, event) -> row``."""

        def register(fold: Callable[[R, Event[D]], R | None]) -> Fold:
            for kind in kinds:
                name = type_of(kind)
                if name in self.folds:
                    raise ValueError(f"projection {self.name!r} has two folds for {name!r}: join them")
                self.folds[name] = fold
            return fold

        return register

    def on_any(self, fold: Callable[[R, Event[Any]], R | None]) -> Fold:
        """Fold every event that has no fold of its own: typed data of a catalogued type, raw JSON of an unknown one.

        A record from before the catalogue knew its type is folded here too, raw, even if the type has a fold by now.
        """
        self.fold_any = fold
        return fold


def _subject(event: Event[Any]) -> str | None:
    return event.subject
