"""The account as engage's own record: who looks after it, and when its person was forgotten."""

from __future__ import annotations

from typing import ClassVar

from engage.events.catalogue.base import Count, EventData, Ref


class AccountErased(EventData):
    """What was sealed with the account's key of ``generation`` or an earlier one can be read by nobody any more."""

    type_name: ClassVar[str] = "account.erased"

    generation: Count


class ManagerAssigned(EventData):
    """From here on ``manager`` (an id) looks after the account."""

    type_name: ClassVar[str] = "manager.assigned"

    manager: Ref
