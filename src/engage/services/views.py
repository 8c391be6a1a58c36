"""Every read model as anybody may ask for it: what there is, a page, a row, a whole table; over HTTP and in a terminal.

An aggregate across accounts is answered as its merged rows, in memory: they are few. Every other answer is the
database's own, a page at most; a condition on columns that no index begins with reads the whole table.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from inspect import cleandoc
from typing import Any

import msgspec
from msgspec import Struct, structs

from engage.services.view_query import Shape, cursor, question, shape_of
from engage.store.asking import Answers
from engage.store.views import ViewStore
from engage.views.aggregate import Aggregate
from engage.views.asking import Condition, Question, answered, place_of
from engage.views.columns import ViewColumn, seen_row
from engage.views.projection import ReadModel

Parameters = Iterable[tuple[str, str]]
Row = dict[str, Any]


class UnknownViewError(LookupError):
    """There is no read model of this name."""


class View(Struct, frozen=True):
    """A read model: ``key`` is the column that names a row; ``indexed`` are columns that are quick to ask for.

    ``merged``: its rows are added up across accounts when they are asked for. ``appended``: its rows never change.
    """

    name: str
    version: int
    description: str
    key: str
    columns: tuple[ViewColumn, ...]
    indexed: tuple[tuple[str, ...], ...]
    merged: bool
    appended: bool


class Page(Struct, frozen=True):
    """Rows in the order that was asked for; ``next`` is the cursor to read on with, null at the end."""

    view: str
    rows: list[Row]
    next: str | None


class Views:
    """Answers from ``store`` what is asked of ``models``, of ``only`` such rows (of no aggregate).

    Every method is blocking. UnknownViewError for a name that none has; QueryError for a question that does not fit;
    ViewMissingError where nothing was folded yet.
    """

    def __init__(self, store: ViewStore, models: Sequence[ReadModel[Any]], *, only: tuple[Condition, ...] = ()) -> None:
        self._store = store
        self._only = only
        self._answers = Answers(store)
        self._models = {model.name: model for model in models}
        self._shapes = {model.name: shape_of(model) for model in models}

    def listed(self) -> list[View]:
        """What there is, by name."""
        return [self.described(name) for name in sorted(self._models)]

    def described(self, name: str) -> View:
        """What a read model is."""
        model, shape = self.named(name), self._shapes[name]
        merged = isinstance(model, Aggregate)
        return View(
            name=name,
            version=model.version,
            description=cleandoc(seen_row(model).__doc__ or "").split("\n\n")[0].replace("\n", " "),
            key=shape.key,
            columns=tuple(shape.columns.values()),
            indexed=((shape.key,), *(() if merged else model.indexes)),
            merged=merged,
            appended=model.append_only,
        )

    def named(self, name: str) -> ReadModel[Any]:
        """The read model of this name."""
        model = self._models.get(name)
        if model is None:
            close = difflib.get_close_matches(name, self._models, 3)
            meant = f"; did you mean {' or '.join(close)}?" if close else ": GET /v1/views lists what there is"
            raise UnknownViewError(f"there is no view {name!r}{meant}")
        return model

    def shape(self, name: str) -> Shape:
        """Its columns, by name."""
        return self._shapes[self.named(name).name]

    def page(self, name: str, parameters: Parameters) -> Page:
        """The rows that ``view_query`` parameters ask for, a page of them."""
        model, shape = self.named(name), self.shape(name)
        asked = question(shape, parameters)
        assert asked.limit is not None, "of a page"
        one_more = structs.replace(asked, limit=asked.limit + 1)
        if isinstance(model, Aggregate):
            columns = [one.column for one in asked.order]
            rows = answered(self._store.merged(model), one_more)
            found = [(place_of(row, asked.fields), place_of(row, columns)) for row in rows]
        else:
            found = self._answers.page(model, self._of_ours(one_more))
        told = [dict(zip(asked.fields, values, strict=True)) for values, _ in found[: asked.limit]]
        more = cursor(shape, asked, found[asked.limit - 1][1]) if len(found) > asked.limit else None
        return Page(name, told, more)

    def row(self, name: str, key: str, fields: str = "") -> tuple[Row, str] | None:
        """A row, and a tag that is another one whenever the row is (RFC 9110's entity tag); None if there is none."""
        model, shape = self.named(name), self.shape(name)
        asked = question(shape, [("fields", fields)] if fields else [])
        if isinstance(model, Aggregate):
            ours = Question(asked.fields, (Condition(shape.key, "eq", key),))
            rows = answered(self._store.merged(model), ours)
            if not rows:
                return None
            row = dict(zip(asked.fields, place_of(rows[0], asked.fields), strict=True))
            return row, tag_of(row)
        if self._only:
            one = self._of_ours(Question(asked.fields, (Condition(shape.key, "eq", key),)))
            told = [dict(zip(asked.fields, values, strict=True)) for values, _ in self._answers.page(model, one)]
            return (told[0], tag_of(told[0])) if told else None
        found = self._answers.row(model, key, asked.fields)
        if found is None:
            return None
        standing = (name, model.version, found.epoch, found.partition, found.change, asked.fields)
        return dict(zip(asked.fields, found.values, strict=True)), _tag(msgspec.json.encode(standing))

    @contextmanager
    def table(self, name: str, parameters: Parameters) -> Iterator[tuple[tuple[str, ...], Iterator[tuple[Any, ...]]]]:
        """The columns' names and all rows that are asked for, of one moment, few of them in memory at a time."""
        model = self.named(name)
        asked = question(self.shape(name), parameters, whole=True)
        if isinstance(model, Aggregate):
            rows = answered(self._store.merged(model), asked)
            yield asked.fields, (place_of(row, asked.fields) for row in rows)
        else:
            with self._answers.stream(model, self._of_ours(asked)) as found:
                yield asked.fields, found

    def check(self, name: str, parameters: Parameters, *, whole: bool = True) -> None:
        """See that a whole table, or a page, can be asked for so, before it is."""
        question(self.shape(name), parameters, whole=whole)

    def _of_ours(self, asked: Question) -> Question:
        return structs.replace(asked, where=(*asked.where, *self._only))


def tag_of(row: Row) -> str:
    """A tag of what the row holds, wherever it was folded."""
    return _tag(msgspec.json.encode(row))


def _tag(told: bytes) -> str:
    return f'"{hashlib.blake2b(told, digest_size=12).hexdigest()}"'
