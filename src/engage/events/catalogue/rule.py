"""Rules on the log: which version of a rule asks for follow-ups from here on, with which settings."""

from __future__ import annotations

from typing import Any, ClassVar

from engage.events.catalogue.base import Count, EventData, Ref


class RuleActivated(EventData):
    """From here on ``rule``, in this version with these settings, emits on ``partition``; before, it is silent."""

    type_name: ClassVar[str] = "rule.activated"

    partition: Count
    rule: Ref
    rule_version: Count
    settings: dict[str, Any]
