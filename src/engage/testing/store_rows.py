"""A read model with a column of every type, and batches of its rows, to try a store of read models with."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from engage.store.positions import Position
from engage.store.views import Change
from engage.views.passes import Folded
from engage.views.projection import Projection

GENERATION = "log-a"
PARTITIONS = 2


class Note(Struct, frozen=True):
    """Something small inside a JSON column."""

    text: str
    at: datetime


class Everything(Struct):
    """One column of every type.

    name: who it is,
        in one word
    """

    key: str
    name: str = ""
    status: Literal["open", "closed"] = "open"
    count: int = 0
    score: Annotated[float, Meta(description="0-100")] = 0.0
    flag: bool = False
    seen: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    day: date = date(1970, 1, 1)
    amount: Decimal = Decimal(0)
    tags: list[str] = field(default_factory=list)
    channels: tuple[str, ...] = ()
    totals: dict[str, float] = field(default_factory=dict)
    note: Note | None = None
    anything: Any = None
    maybe_name: str | None = None
    maybe_count: int | None = None
    maybe_score: float | None = None
    maybe_flag: bool | None = None
    maybe_seen: datetime | None = None
    maybe_amount: Decimal | None = None


everything = Projection("everything", version=1, row=Everything, indexes=("status", ("name", "seen")))
other = Projection("other", version=1, row=Everything)

growing = Projection("growing", version=1, row=Everything)
"""A read model whose rows want to be woken."""
growing.on_wake(lambda row: row.maybe_seen)(lambda row, moment: row)


class Grown(Everything):
    """One column more."""

    more: int = 0


grown = Projection("everything", version=2, row=Grown)

FULL = Everything(
    "full",
    name="Zoë O'Neil %s ? \n",
    status="closed",
    count=2**62,
    score=0.1,
    flag=True,
    seen=datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    day=date(2026, 2, 28),
    amount=Decimal("12345678901234567890.123456789"),
    tags=["a", "ü", ""],
    channels=("mail", "sms"),
    totals={"EUR": 1.5, "USD": -0.25},
    note=Note("hello", datetime(2026, 1, 1, tzinfo=UTC)),
    anything={"nested": [1, None, True, "x"]},
    maybe_name="",
    maybe_count=0,
    maybe_score=0.0,
    maybe_flag=False,
    maybe_seen=datetime(1969, 12, 31, tzinfo=UTC),
    maybe_amount=Decimal("-0.5"),
)


def change(
    position: int,
    following: int,
    *rows: Everything,
    gone: tuple[str, ...] = (),
    projection: Projection[Any] = everything,
    generation: str = GENERATION,
    partition: int = 0,
) -> Change:
    """What a batch from ``position`` to ``following`` made."""
    folded = Folded(projection, {row.key: row for row in rows} | dict.fromkeys(gone))
    return Change(Position(projection.name, projection.version, partition, generation, position), following, folded)
