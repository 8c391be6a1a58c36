"""The history's entries by day, packed: a year and a half of them takes 10 MB so, and 100 MB as objects."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import msgspec
from msgspec import Raw, Struct

from engage.demo.purchases import DAYS, LABEL, SOURCE, Purchase
from engage.demo.story import DAY_MICROS, Entry
from engage.events.catalogue import BY_CLASS
from engage.events.catalogue.base import EventData
from engage.events.catalogue.commerce import OrderCompleted, Product

SIMULATION = "engage/demo/simulation"
"""The source of everything that is not a real purchase."""
_PACK_FROM = 32_000
"""Bytes of a day that are packed at a time."""


class Told(Struct, array_like=True, gc=False):
    """An entry with its data as the event will have them; ``time`` as the entry has it."""

    time: int
    source: str
    id: str
    subject: str
    type: str
    dataversion: int
    data: Raw


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Told).decode


class PackedDays:
    """Collects entries in any order, and gives each day's in the order of time, ties by source and id.

    ``elapsed`` (0-1) is how much of the last day has passed: its entries are squeezed into that part, so that order and
    causes hold.
    """

    def __init__(self, elapsed: float) -> None:
        self.counts = [0] * DAYS
        self._elapsed = elapsed
        self._packed: list[list[bytes]] = [[] for _ in range(DAYS)]
        self._loose = [bytearray() for _ in range(DAYS)]

    def add(self, entries: Iterable[Entry]) -> None:
        """These happen, too."""
        for entry in entries:
            day = entry.time // DAY_MICROS
            loose = self._loose[day]
            loose += _encode(_told(entry))
            loose += b"\n"
            self.counts[day] += 1
            if len(loose) > _PACK_FROM:
                self._packed[day].append(zlib.compress(loose, 1))
                loose.clear()

    def of(self, day: int) -> list[Told]:
        """What happens on a day."""
        lines = b"".join([*map(zlib.decompress, self._packed[day]), self._loose[day]]).splitlines()
        told = [_decode(line) for line in lines]
        if day == DAYS - 1:
            start = day * DAY_MICROS
            for one in told:
                one.time = start + int((one.time - start) * self._elapsed)
        return sorted(told, key=lambda one: (one.time, one.source, one.id))


def _told(entry: Entry) -> Told:
    data: EventData | Purchase = entry.data
    source, identity = SIMULATION, f"{entry.subject}:{entry.ordinal}"
    if isinstance(data, Purchase):
        source, identity = SOURCE, f"{LABEL}:{data.line}"
        data = OrderCompleted(
            order_id=identity,
            total=data.cents / 100,
            currency="USD",
            products=(Product(product_id="cd", category="music", quantity=data.cds),),
        )
    kind = BY_CLASS[type(data)]
    return Told(entry.time, source, identity, entry.subject, kind.name, kind.version, Raw(_encode(data)))
