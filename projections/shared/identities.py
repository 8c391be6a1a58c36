"""Who turned out to be whom: the visitors that are linked to an account, and when that was said?"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from engage.events.catalogue.identity import IdentityLinked, IdentityUnlinked
from engage.events.envelope import EPOCH, Event
from engage.views.projection import Projection


class Identity(Struct):
    """A visitor that is linked to an account; what is known of the one belongs to the other.

    visitor: the id under which it was known
    account: the account that it was linked to, which may be linked to another one itself
    linked_at: when the log learned of it
    linked_by: who said so; null when nobody was named
    """

    visitor: str
    account: str = ""
    linked_at: datetime = EPOCH
    linked_by: str | None = None


identities = Projection(
    "identities",
    version=1,
    row=Identity,
    stays=True,  # it is about the visitor, whoever that is
    indexes=("account",),
)


@identities.on(IdentityLinked)
def linked(row: Identity, event: Event[IdentityLinked]) -> Identity:
    """It turned out to be this one."""
    return Identity(row.visitor, event.data.account, event.now, event.actor)


@identities.on(IdentityUnlinked)
def unlinked(row: Identity, event: Event[IdentityUnlinked]) -> None:
    """It was not."""
