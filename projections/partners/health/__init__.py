"""How partners' events count for the health of their accounts, a component or two a file."""

from __future__ import annotations

from projections.partners.health import compliance, deliveries, disputes, responsiveness, trust

COMPONENTS = (
    deliveries.DELIVERY,
    deliveries.QUALITY,
    responsiveness.RESPONSIVENESS,
    disputes.DISPUTES,
    compliance.COMPLIANCE,
    trust.TRUST,
)
MARKINGS = (deliveries.markings, responsiveness.markings, disputes.markings, compliance.markings, trust.markings)
