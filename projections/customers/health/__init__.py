"""How customers' events count for the health of their accounts, a component or two a file."""

from __future__ import annotations

from projections.customers.health import engagement, purchasing, rhythm, satisfaction, support

COMPONENTS = (purchasing.PURCHASING, engagement.ENGAGEMENT, satisfaction.SATISFACTION, support.SUPPORT)
MARKINGS = (purchasing.markings, rhythm.markings, engagement.markings, satisfaction.markings, support.markings)
