"""What a read model is: rows of typed columns, folded from the log.

A ``Projection`` folds the events of one key into one row. An ``Aggregate`` (``engage.views.aggregate``) adds up what
rows, or events, of all accounts have to say.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from msgspec import Struct

from engage.events.catalogue import type_of
from engage.events.catalogue.base import EventData
from engage.events.envelope import Event, is_account

if TYPE_CHECKING:
    from engage.views.aggregate import Aggregate

R = TypeVar("R", bound=Struct)
D = TypeVar("D", bound=EventData)

Fold = Callable[[Any, Event[Any]], Any]
Key = Callable[[Event[Any]], str | None]
Due = Callable[[Any], datetime | None]
Waking = Callable[[Any, datetime], Any]
Watch = Callable[[Any], Hashable]
Announce = Callable[[Any, Any, datetime], Iterable[EventData]]
Stands = Callable[[Any], Iterable[tuple[EventData, datetime]]]

subject_of: Key = attrgetter("subject")  # looked at without a call of ours


def account_of(event: Event[Any]) -> str | None:
    """The key of a read model with a row an account: the event's subject; None of a partition or an outside market.

    Models that share a key function share its call (``engage.views.folding``): use this one and no copy of it.
    """
    return event.subject if is_account(event.subject) else None


class ReadModel(Generic[R]):
    """A table: a name, a version, rows of ``row`` (a Struct, a field a column, explained in its docstring).

    A row's first field is its key, a string; every other field has a default. ``Meta(description=...)`` of a field, or
    a line ``field: what it says`` in the row's docstring, becomes the column's comment. ``indexes`` are the columns
    that readers filter and sort by, each a column's name or several in order: ``("status", ("account", "recorded"))``.
    """

    append_only = False

    def __init__(self, name: str, *, version: int, row: type[R], indexes: Sequence[str | tuple[str, ...]] = ()) -> None:
        self.name = name
        self.version = version
        self.row = row
        self.indexes = tuple((columns,) if isinstance(columns, str) else columns for columns in indexes)


class Projection(ReadModel[R]):
    """A read model with one fold per event type.

    ``key`` says which row an event belongs to (default: the event's ``subject``); None means that the event is not for
    this model. A fold gets the row (a fresh ``row(key)`` if there is none yet) and the event, and returns the row to
    keep or None to delete it. Folds are pure: ``event.now`` is the time. A key belongs to one partition of the log, so
    it is an account, or begins with what belongs to one account.

    ``stays`` says that rows are of what was said of an account itself, wherever its events belong since it was linked
    to another (``engage.events.linking``): what was copied from there is no event for it.

    ``append_only`` says that an event makes a row of its own: its fold always gets a fresh row, nothing is ever loaded,
    and None means that this event makes no row. Its key is the event's place in the log (``place_of``), which is how
    those who follow the model find what is new.
    """

    def __init__(
        self,
        name: str,
        *,
        version: int,
        row: type[R],
        key: Key | None = None,
        append_only: bool = False,
        stays: bool = False,
        indexes: Sequence[str | tuple[str, ...]] = (),
    ) -> None:
        super().__init__(name, version=version, row=row, indexes=indexes)
        self.stays = stays
        self.key: Key = key or (place_of if append_only else subject_of)
        self.append_only = append_only
        self.folds: dict[str, Fold] = {}
        self.fold_any: Fold | None = None
        self.due: Due | None = None
        self.waking: Waking | None = None
        self.watch: Watch | None = None
        self.announce: Announce | None = None
        self.standing: Stands | None = None
        self.aggregates: list[Aggregate[Any, Any]] = []

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

    def on_wake(self, due: Callable[[R], datetime | None]) -> Callable[[Callable[[R, datetime], R | None]], Waking]:
        """Fold the passing of time with the decorated ``(row, moment) -> row``, for what changes without an event.

        ``due`` says of a row when it wants to be woken next, or None. It is woken with that moment as the time, before
        the first record of its partition that was recorded then or later; when nothing is recorded, a tick is.
        """
        if self.append_only:
            raise ValueError(f"projection {self.name!r} is append-only: its rows are never looked at again")

        def register(waking: Callable[[R, datetime], R | None]) -> Waking:
            self.due, self.waking = due, waking
            return waking

        return register

    def announces(
        self, watch: Callable[[R], Hashable]
    ) -> Callable[[Callable[[Any, R, datetime], Iterable[EventData]]], Announce]:
        """Tell the log when ``watch(row)`` changes: the decorated ``(before, row, moment)`` gives the events' data.

        For models whose key is the account: it is the events' subject. ``before`` is what ``watch`` said, None of a row
        that was not there. Only the live version of a model announces, and only what happens from its activation on.
        """

        def register(announce: Callable[[Any, R, datetime], Iterable[EventData]]) -> Announce:
            self.watch, self.announce = watch, announce
            return announce

        return register

    def stands(self, standing: Stands) -> Stands:
        """Tell the log how a row stands, once, when a model comes live whose past was folded in silence.

        The decorated function gives the data, each with since when it is so, and nothing of what the log knows: fold
        what is announced too, to know what was told, and a store that is made anew tells nothing again.
        """
        self.standing = standing
        return standing


def place_key(partition: int, offset: int) -> str:
    """The key of the row that the event there makes in a model that is only appended to."""
    return f"{partition}:{offset}"


def place_of(event: Event[Any]) -> str:
    """The same of an event that is on the log."""
    return place_key(event.partition, event.offset)
