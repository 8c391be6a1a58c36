"""Read models across accounts: sums that every partition keeps for itself and that are merged when read.

No row is shared between partitions, so no worker waits for another, and a sum can be taken back exactly when the row
that gave it changes. That is why shares are whole numbers: subtracting fractions would leave something behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, Generic, TypeVar, get_type_hints

from msgspec import Struct, structs

from engage.events.catalogue import type_of
from engage.events.catalogue.base import EventData
from engage.events.envelope import Event
from engage.views.projection import Projection, ReadModel

S = TypeVar("S", bound=Struct)
O = TypeVar("O", bound=Struct)  # noqa: E741  # what is read
D = TypeVar("D", bound=EventData)

Share = Callable[[Any], Iterable[Any]]


class Aggregate(ReadModel[S], Generic[S, O]):
    """A read model that adds up shares: those of the rows of ``of``, or those of events, or both.

    ``row`` is a share, and a stored shard: its first field is the key (a string; the store puts the partition before
    it), ``int`` and ``dict[str, int]`` fields are added up, all others say what the key stands for and are the same in
    all shares of a key. A shard whose sums are all zero is deleted. Money is counted in hundredths (``cents``).

    ``reads`` is what readers get, made by the function decorated with ``@aggregate.read`` from the shards merged over
    all partitions; its docstring explains its columns.
    """

    def __init__(
        self,
        name: str,
        *,
        version: int,
        row: type[S],
        reads: type[O],
        of: Projection[Any] | None = None,
        indexes: Sequence[str | tuple[str, ...]] = (),
    ) -> None:
        super().__init__(name, version=version, row=row, indexes=indexes)
        self.reads = reads
        self.of = of
        self.folds: dict[str, Share] = {}
        self.share: Share | None = None
        self.reader: Callable[[list[S]], Iterable[O]] | None = None
        hints = get_type_hints(row)
        self.key_field, *others = row.__struct_fields__
        self.sums = tuple(name for name in others if hints[name] is int)
        self.tallies = tuple(name for name in others if hints[name] == dict[str, int])
        self._counted, self._tallied = _values_of(self.sums), _values_of(self.tallies)
        if any(hints[name] in (float, float | None) for name in others):
            raise TypeError(f"aggregate {name!r}: {row.__name__} has a float: count in whole numbers (cents, minutes)")
        if of is not None:
            of.aggregates.append(self)

    def of_row(self, share: Callable[[Any], Iterable[S]]) -> Share:
        """The shares of a row of ``of``, decorated ``(row) -> shares``: they go when the row changes, new ones come."""
        if self.of is None:
            raise ValueError(f"aggregate {self.name!r} has no rows to take shares of: name the projection with of=")
        self.share = share
        return share

    def on(self, *kinds: type[D]) -> Callable[[Callable[[Event[D]], Iterable[S]]], Share]:
        """The shares of an event of these types, decorated ``(event) -> shares``: they stay."""

        def register(share: Callable[[Event[D]], Iterable[S]]) -> Share:
            for kind in kinds:
                name = type_of(kind)
                if name in self.folds:
                    raise ValueError(f"aggregate {self.name!r} has two folds for {name!r}: join them")
                self.folds[name] = share
            return share

        return register

    def read(self, reader: Callable[[list[S]], Iterable[O]]) -> Callable[[list[S]], Iterable[O]]:
        """What readers get, from all merged shards in the order of their keys."""
        self.reader = reader
        return reader

    def merged(self, shards: Iterable[S]) -> list[O]:
        """The rows that readers get, from the shards of all partitions in any order."""
        if self.reader is None:
            raise ValueError(f"aggregate {self.name!r} cannot be read: decorate a function with @{self.name}.read")
        whole: dict[str, S] = {}
        for shard in shards:
            key = bare_key(getattr(shard, self.key_field))
            if key in whole:
                self.add(whole[key], shard, 1)
            else:
                whole[key] = self.add(self.blank(shard, key), shard, 1)
        return list(self.reader([whole[key] for key in sorted(whole)]))

    def blank(self, share: S, key: str) -> S:
        """A shard of ``key`` that holds nothing yet, for what ``share`` stands for."""
        nothing: dict[str, Any] = dict.fromkeys(self.sums, 0) | {name: {} for name in self.tallies}
        return structs.replace(share, **{self.key_field: key}, **nothing)

    def add(self, shard: S, share: S, sign: int) -> S:
        """Add a share to a shard, or take it away (``sign`` −1); returns the shard."""
        for name, count in zip(self.sums, self._counted(share), strict=True):
            if count:
                setattr(shard, name, getattr(shard, name) + sign * count)
        for name, tally in zip(self.tallies, self._tallied(share), strict=True):
            if tally:
                _tally(getattr(shard, name), tally, sign)
        return shard

    def exchange(self, shard: S, before: S, after: S) -> None:
        """Take ``before`` from a shard and add ``after``, two shares of one key: only what differs is looked at."""
        for name, was, now in zip(self.sums, self._counted(before), self._counted(after), strict=True):
            if was != now:
                setattr(shard, name, getattr(shard, name) + now - was)
        for name, was, now in zip(self.tallies, self._tallied(before), self._tallied(after), strict=True):
            if was != now:
                _tally(getattr(shard, name), was, -1)
                _tally(getattr(shard, name), now, 1)

    def is_empty(self, shard: S) -> bool:
        """Whether nothing is left in it."""
        return not any(getattr(shard, name) for name in (*self.sums, *self.tallies))


def shard_key(partition: int, key: str) -> str:
    """The key of a partition's shard."""
    return f"{partition}:{key}"


def bare_key(key: str) -> str:
    """The key of a shard without its partition."""
    return key.partition(":")[2]


def _values_of(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """What reads these attributes: ``attrgetter`` gives a tuple only of two or more, and knows no empty one."""
    if not names:
        return lambda row: ()
    if len(names) == 1:
        only = attrgetter(names[0])
        return lambda row: (only(row),)
    return attrgetter(*names)


def _tally(tally: dict[str, int], counts: dict[str, int], sign: int) -> None:
    for what, count in counts.items():
        total = tally.get(what, 0) + sign * count
        if total:
            tally[what] = total
        else:
            tally.pop(what, None)
