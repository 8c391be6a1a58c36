"""The read models, a file each; ``PROJECTIONS`` are those that run: every read model that a file here offers."""

from __future__ import annotations

from typing import Any

from engage.discovery import discover
from engage.views.projection import ReadModel

PROJECTIONS: tuple[ReadModel[Any], ...] = discover(
    ("projections.shared", "projections.customers", "projections.partners", "projections.market"), ReadModel
)
