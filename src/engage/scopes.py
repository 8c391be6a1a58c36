"""What somebody may be allowed to do with engage."""

from __future__ import annotations

from typing import Literal, get_args

Scope = Literal["publish", "read", "work", "operate"]
"""Publish events; read accounts, follow-ups and read models; work on follow-ups; operate engage itself."""

SCOPES: tuple[Scope, ...] = get_args(Scope)
EVERYTHING: frozenset[Scope] = frozenset(SCOPES)
