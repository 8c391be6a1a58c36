"""Feeds the changes of read models to their compacted topics, for services that would rather subscribe than ask.

A record's key is the row's key, its value ``{account, key, view, version, change, position, row}``; a deleted row is a
tombstone. ``change`` grows with every change of the view in its partition, ``position`` is how far into the log's
partition the view had come. A key's records are in order; after a crash the last ones may come again. After a rebuild
the rows that differ come, after the store was made anew all of them do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct, structs

from engage.log.topics import Topics
from engage.services.kafka_transaction import FencedProducer, Outgoing
from engage.store.feeds import Fed, Feeds
from engage.store.views import Changed, ViewStore
from engage.views.projection import ReadModel

_AT_ONCE = 5
"""Read models whose changes are read at once."""

_encode = msgspec.json.Encoder(order="deterministic").encode


class _Batch(Struct, frozen=True):
    model: ReadModel[Any]
    records: list[Outgoing]
    fed: Fed


class ViewFeed:
    """The feed of one partition of ``models``; whoever claims it next shuts this one out (FencedError)."""

    def __init__(
        self, bootstrap: str, topics: Topics, store: ViewStore, models: Sequence[ReadModel[Any]], partition: int
    ) -> None:
        self._topics = topics
        self._store = store
        self._feeds = Feeds(store.database)
        self._models = [model for model in models if not model.append_only]
        self._partition = partition
        self._producer = FencedProducer(bootstrap, f"{topics.prefix}-views-{partition}", partition)

    async def claim(self) -> None:
        """End the predecessor; BrokerUnavailableError if Kafka is away."""
        await self._producer.claim()

    async def close(self) -> None:
        """Give the partition up."""
        await self._producer.close()

    async def step(self, limit: int, behind: Mapping[str, Fed] | None = None, rest: float = 0.0) -> int:
        """Feed about ``limit`` changes of each model; how many, 0 when everything is fed.

        ``behind`` is what ``Feeds.behind`` says of the partition, for who asks it of all partitions at once. What is
        fed is noted only after Kafka has it: a crash between the two feeds it again. FencedError if another process
        feeds the partition now. A few models are read at once, and after them it rests ``rest`` times as long as that
        took: to read all took a fifth of a second in which whoever folds in this process came on half as quickly.
        """
        if behind is None:
            names = [model.name for model in self._models]
            found = await asyncio.to_thread(self._feeds.behind, names, [self._partition])
            behind = found.get(self._partition, {})
        batches, clock = list[_Batch](), asyncio.get_running_loop().time
        changed = [model for model in self._models if model.name in behind]
        for first in range(0, len(changed), _AT_ONCE):
            began = clock()
            batches += await asyncio.to_thread(self._waiting, limit, changed[first : first + _AT_ONCE], behind)
            await asyncio.sleep(rest * (clock() - began))
        if not batches:
            return 0
        await self._producer.commit([(self._topics.view(one.model.name), one.records) for one in batches])
        await asyncio.to_thread(self._feeds.note, self._partition, {one.model.name: one.fed for one in batches})
        return sum(len(one.records) for one in batches)

    def _waiting(self, limit: int, models: Sequence[ReadModel[Any]], behind: Mapping[str, Fed]) -> list[_Batch]:
        batches = []
        after = {model: behind[model.name].change for model in models}
        for model, changes in self._store.changes_of_all(after, self._partition, limit):
            if changes:
                records = [Outgoing(change[0].encode(), value_of(model, change)) for change in changes]
                batches.append(_Batch(model, records, Fed(behind[model.name].epoch, changes[-1][2])))
        return batches


def value_of(model: ReadModel[Any], changed: Changed) -> bytes | None:
    """A change as its topic has it; None for a row that is gone."""
    key, row, change, position = changed
    if row is None:
        return None
    columns = structs.asdict(row)
    about = {"view": model.name, "version": model.version, "key": key, "account": columns.get("account")}
    return _encode({**about, "change": change, "position": position, "row": columns})
