"""The envelope every interaction travels in: CloudEvents 1.0 with engage's extension attributes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Generic, Literal, TypeVar

from msgspec import Meta, Struct

D = TypeVar("D")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
JSON = "application/json"
_MICROSECOND = timedelta(microseconds=1)

Id = Annotated[str, Meta(min_length=1, max_length=256)]
Instant = Annotated[datetime, Meta(tz=True)]
"""A moment with its UTC offset, RFC 3339 on the wire, microsecond resolution."""
Traceparent = Annotated[str, Meta(pattern="^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")]
"""The span that an event was published in: W3C Trace Context, as CloudEvents' Distributed Tracing extension has it."""

PARTITION_SUBJECT = "partition:"
MARKET_SUBJECT = "market:"
OWN_SUBJECT = "engage:"
OPERATIONS = f"{OWN_SUBJECT}operations"
"""The subject of what operators do with engage itself."""
_NO_ACCOUNT = (PARTITION_SUBJECT, MARKET_SUBJECT, OWN_SUBJECT)


class Event(Struct, Generic[D], kw_only=True, omit_defaults=True, gc=False):
    """One interaction: CloudEvents 1.0 attributes, engage's extension attributes, and where it stands in the log.

    ``data`` is raw JSON (``Event[msgspec.Raw]``) until the codec opens it as its catalogue type. Treat it as immutable:
    it is not frozen only because opening the data in place saves a third of the decoding time
    (``benchmarks/codec.py``).

    ``recorded`` is engage's own stamp and never earlier than that of the record before it in the partition; ``time``
    is when it happened, in the words of whoever reported it. ``partition`` and ``offset`` are -1 until it is read from
    the log. ``type`` comes first because a typed decoder is chosen by it.

    Where identities were linked (``engage.events.linking``): ``linkedto`` is the account that the subject was linked to
    when it was recorded, and folds pass it over; ``origin`` of what was copied from there is the subject that it was
    said of; ``via`` who handed it on, where that was linked itself; ``retold`` says that it is a copy of the past, told
    once more.
    """

    type: Id
    specversion: Literal["1.0"]
    id: Id
    source: Id
    subject: Id
    time: Instant
    data: D
    datacontenttype: str = JSON
    dataversion: Annotated[int, Meta(ge=1)] = 1
    recorded: Instant | None = None
    correlationid: Id | None = None
    causationid: Id | None = None
    actor: Id | None = None
    contact: Id | None = None
    traceparent: Traceparent | None = None
    inboxoffset: int | None = None
    origin: Id | None = None
    linkedto: Id | None = None
    via: Id | None = None
    retold: bool = False
    partition: int = -1
    offset: int = -1

    @property
    def identity(self) -> tuple[str, str, str]:
        """What makes it the same event: ``(subject, source, id)``."""
        return (self.subject, self.source, self.id)

    @property
    def is_copy(self) -> bool:
        """Whether the same event stands on the log already, said of another account or told before."""
        return self.retold or self.origin is not None

    @property
    def now(self) -> datetime:
        """The moment at which the log learned of it: what rules and projections take as now."""
        assert self.recorded is not None, "an event that is folded has been recorded"
        return self.recorded


def is_account(subject: str) -> bool:
    """Whether ``subject`` names a customer or partner, and not a partition, an outside market or engage itself."""
    return not subject.startswith(_NO_ACCOUNT)


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970-01-01 UTC, exact."""
    return (moment - EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The UTC moment ``micros`` microseconds after 1970-01-01."""
    return EPOCH + timedelta(microseconds=micros)
