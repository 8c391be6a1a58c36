"""Commands to engage itself: what operators did, so that the log says of that too who did it and when."""

from __future__ import annotations

from typing import ClassVar, Literal

from engage.events.catalogue.base import EventData, Ref, Text

Outcome = Literal["done", "failed", "interrupted"]


class CommandGiven(EventData):
    """The envelope's ``actor`` gave ``command`` (``api-keys create``) about ``thing``, and this came of it."""

    type_name: ClassVar[str] = "command.given"

    command: Text
    thing: Ref
    outcome: Outcome
