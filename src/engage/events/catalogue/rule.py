"""Rules on the log: which version of a rule asks for follow-ups from here on, with which settings, and which rest."""

from __future__ import annotations

from typing import Any, ClassVar

from engage.events.catalogue.base import Count, EventData, Ref, Text


class RuleActivated(EventData):
    """From here on ``rule``, in this version with these settings, emits on ``partition``; before, it is silent."""

    type_name: ClassVar[str] = "rule.activated"

    partition: Count
    rule: Ref
    rule_version: Count
    settings: dict[str, Any]


class RuleDisabled(EventData):
    """From here on ``rule`` rests on ``partition``: it hears nothing, nothing wakes it, and it asks for nothing."""

    type_name: ClassVar[str] = "rule.disabled"

    partition: Count
    rule: Ref
    reason: Text | None = None


class RuleEnabled(EventData):
    """From here on ``rule`` asks again on ``partition``; what came while it rested it takes in silence."""

    type_name: ClassVar[str] = "rule.enabled"

    partition: Count
    rule: Ref
