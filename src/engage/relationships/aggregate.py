"""What every aggregate here shares: its events are catalogue events in the making, said of one account by one actor."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID, uuid5

from eventsourcing.domain import Aggregate

from engage.events.catalogue.base import EventData

SOURCE = "engage/relationships"
"""The source, on the log, of what the aggregates say."""
RELAY = "relay"
"""The name of the position up to which the aggregates' events are on the log."""


class AccountAggregate(Aggregate):
    """An aggregate that belongs to one account; events of a subclass derive from ``AccountAggregate.Event``."""

    class Event(Aggregate.Event):
        """What happened, as the typed ``data`` that the log will carry; ``timestamp`` is the command's moment.

        The relay publishes exactly this, so the aggregate can be rebuilt from the log. ``closes`` says that nothing
        may follow.
        """

        closes: ClassVar[bool] = False

        account: str
        actor: str
        data: EventData


AccountEvent = AccountAggregate.Event


def published_id(aggregate: UUID, version: int) -> str:
    """The id on the log of the event that brought ``aggregate`` to ``version``: the same whenever it is published."""
    return str(uuid5(aggregate, str(version)))
