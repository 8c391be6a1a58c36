"""The account as engage's own record: who looks after it, and when its person was forgotten."""

from __future__ import annotations

from typing import ClassVar

from msgspec import field

from engage.events.catalogue.base import Count, EventData, Ref


class AccountErased(EventData):
    """What was sealed with the account's key of ``generation`` or an earlier one can be read by nobody any more.

    ``linked`` are those who turned out to be the account, each with the generation of its key that went with it.
    """

    type_name: ClassVar[str] = "account.erased"

    generation: Count
    linked: dict[Ref, Count] = field(default_factory=dict)


class ManagerAssigned(EventData):
    """From here on ``manager`` (an id) looks after the account."""

    type_name: ClassVar[str] = "manager.assigned"

    manager: Ref
