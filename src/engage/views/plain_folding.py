"""The short way for read models whose rows nobody wakes or watches: each event goes into its row as soon as it is read.

``engage.views.folding`` keeps all events of a batch until they are grouped by row; here a few hundred are decoded,
folded and let go while they are in the processor's cache, which takes half of its time (``benchmarks/projections.py``).
What is not as it mostly is, a fold that fails above all, is no business of the short way: the batch is folded the other
way then, from its start, and whatever was made here is dropped.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, TypeGuard

from engage.events.envelope import Event
from engage.events.linking import BEGINS_ANEW
from engage.views.passes import UNREADABLE, Folded, Load
from engage.views.projection import Fold, Projection, ReadModel, account_of, subject_of

_OF_ACCOUNT = (subject_of, account_of)


class IrregularError(Exception):
    """Something that only the long way knows how to fold; rows that were handed out may be half changed by now."""


def all_plain(models: Sequence[ReadModel[Any]]) -> TypeGuard[Sequence[Projection[Any]]]:
    """Whether these can go the short way: a row is loaded, folded and kept, and nothing else follows from it."""
    return all(
        isinstance(one, Projection)
        and not one.append_only
        and one.fold_any is None
        and one.due is None
        and one.watch is None
        and not one.aggregates
        for one in models
    )


class PlainFolding:
    """Folds events of one partition into the rows of ``models``, piece by piece; at an event of ``beware`` it gives up.

    ``wanted`` are the types of events whose data it looks at.
    """

    def __init__(self, models: Sequence[Projection[Any]], beware: Collection[str] = ()) -> None:
        self.wanted = frozenset(name for model in models for name in model.folds)
        self._beware = beware
        self._plains = [_Plain(model) for model in models]
        self._known: set[type] = set()

    def take(self, events: Sequence[Event[Any]], load: Load) -> None:
        """Fold the events that come next, in log order, as ``codec.read_all`` gives them, with their places.

        ``load`` is asked once for each row. IrregularError if they cannot be folded so.
        """
        kinds = set(map(type, events))
        if not kinds <= self._known:
            self._plan(events)
        for plain in self._plains:
            plain.take(events, kinds, load)

    def folded(self) -> list[Folded]:
        """What came of them, a result for each model."""
        return [plain.folded() for plain in self._plains]

    def _plan(self, events: Sequence[Event[Any]]) -> None:
        for kind, name in {(type(event), event.type) for event in events}:
            if kind in self._known:
                continue
            if name in self._beware:
                raise IrregularError
            if kind is not Event:
                for plain in self._plains:
                    plain.plan(kind, name)
                self._known.add(kind)
            elif name in BEGINS_ANEW or name in self.wanted:  # not as its type has it today: who knows what it holds
                raise IrregularError


class _Plain:
    """The rows of one read model, and which fold takes events of which class."""

    def __init__(self, model: Projection[Any]) -> None:
        self._model = model
        self._folds: dict[type, Fold] = {}
        self._rows: dict[str, Any] = {}
        self._stored: set[str] = set()

    def plan(self, kind: type, name: str) -> None:
        model, fold = self._model, self._model.folds.get(name)
        if name in BEGINS_ANEW and not model.stays:
            if model.key not in _OF_ACCOUNT or model.row.__struct_fields__[0] != "account":
                raise IrregularError  # only the database knows which rows are the account's
            fold = self._anew(fold)
        if fold is not None:
            self._folds[kind] = fold

    def take(self, events: Sequence[Event[Any]], kinds: set[type], load: Load) -> None:
        folds, rows, fresh = self._folds, self._rows, self._model.row
        heard = [
            event
            for event in events
            if type(event) in folds
            and ((event.linkedto is None and event.origin is None and not event.retold) or self._hears_linked(event))
        ]
        try:
            keys = list(map(self._model.key, heard))
        except Exception as error:  # whatever it is, the long way finds out whom it concerns
            raise IrregularError from error
        self._load(keys, load)
        try:
            for event, key in zip(heard, keys, strict=True):
                if key is not None:
                    row = rows[key]
                    rows[key] = folds[type(event)](fresh(key) if row is None else row, event)
        except Exception as error:
            raise IrregularError from error

    def folded(self) -> Folded:
        rows = {key: row for key, row in self._rows.items() if row is not None or key in self._stored}
        return Folded(self._model, rows)

    def _load(self, keys: Sequence[str | None], load: Load) -> None:
        new: set[str | None] = set(keys).difference(self._rows)  # mostly there is none
        if asked := [key for key in dict.fromkeys(keys) if key is not None and key in new] if new else []:
            try:
                stored = load(self._model, asked)
            except UNREADABLE as error:
                raise IrregularError from error
            self._rows.update(dict.fromkeys(asked) | stored)
            self._stored.update(stored)

    def _hears_linked(self, event: Event[Any]) -> bool:
        """What stays hears what stands elsewhere too where it was said, and all other rows the copy."""
        return event.type in self._model.folds and self._model.stays is (event.linkedto is not None)

    def _anew(self, fold: Fold | None) -> Fold:
        def begun_anew(row: Any, event: Event[Any]) -> Any:
            if event.linkedto is None and event.origin is None and not event.retold:
                row = self._model.row(event.subject)
                return None if fold is None else fold(row, event)
            assert fold is not None, "else it would not be heard"
            return fold(row, event)

        return begun_anew
