"""Follow-up rules, one file each; ``RULES`` are those that run: every rule that a file here offers."""

from __future__ import annotations

from typing import Any

from engage.discovery import discover
from engage.rules.rule import Rule

RULES: tuple[Rule[Any, Any], ...] = discover(("streams.customers", "streams.partners"), Rule)
