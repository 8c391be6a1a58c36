"""What may be asked of rows: conditions, an order, where to read on; and the answer of rows that are in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cmp_to_key
from typing import Any, Literal, TypeVar

from msgspec import Struct

R = TypeVar("R", bound=Struct)

Test = Literal["eq", "ne", "lt", "le", "gt", "ge", "in", "prefix", "null"]
"""``null`` has True for what is null, False for what is not. Every other one but ``ne`` is false of null."""


class Condition(Struct, frozen=True):
    """A column's value passes a test against ``value``, for ``in`` a tuple of them."""

    column: str
    test: Test
    value: Any


class Order(Struct, frozen=True):
    """By this column; null comes last either way."""

    column: str
    descending: bool = False


class Question(Struct, frozen=True):
    """Which columns of which rows, in which order.

    ``order`` is empty for any order; where a page is cut (``limit``) it ends with the key. ``after`` holds the values
    of the columns of ``order`` in the last row that was seen.
    """

    fields: tuple[str, ...]
    where: tuple[Condition, ...] = ()
    order: tuple[Order, ...] = ()
    after: tuple[Any, ...] | None = None
    limit: int | None = None


_TESTS: dict[Test, Callable[[Any, Any], bool]] = {
    "eq": lambda found, wanted: found is not None and bool(found == wanted),
    "ne": lambda found, wanted: bool(found != wanted),
    "lt": lambda found, wanted: found is not None and bool(found < wanted),
    "le": lambda found, wanted: found is not None and bool(found <= wanted),
    "gt": lambda found, wanted: found is not None and bool(found > wanted),
    "ge": lambda found, wanted: found is not None and bool(found >= wanted),
    "in": lambda found, wanted: found is not None and found in wanted,
    "prefix": lambda found, wanted: found is not None and bool(found.startswith(wanted)),
    "null": lambda found, wanted: (found is None) == wanted,
}


def answered(rows: Iterable[R], question: Question) -> list[R]:
    """Those of the rows that are asked for, in order, as a database answers the same question."""
    found = [
        row for row in rows if all(_TESTS[one.test](getattr(row, one.column), one.value) for one in question.where)
    ]
    if question.order:
        columns = [one.column for one in question.order]
        compare = _comparison(question.order)
        found.sort(key=cmp_to_key(lambda a, b: compare(place_of(a, columns), place_of(b, columns))))
        if question.after is not None:
            found = [row for row in found if compare(place_of(row, columns), question.after) > 0]
    return found[: question.limit]


def place_of(row: Any, columns: Iterable[str]) -> tuple[Any, ...]:
    """A row's values in these columns."""
    return tuple(getattr(row, column) for column in columns)


def _comparison(order: Sequence[Order]) -> Callable[[Sequence[Any], Sequence[Any]], int]:
    def compare(a: Sequence[Any], b: Sequence[Any]) -> int:
        for one, left, right in zip(order, a, b, strict=True):
            if left == right:
                continue
            if left is None or right is None:
                return 1 if left is None else -1
            return 1 if (left > right) != one.descending else -1
        return 0

    return compare
