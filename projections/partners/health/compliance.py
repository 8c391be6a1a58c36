"""Whether a partner keeps to what was agreed: breaches against agreements signed and renewed and levels measured."""

from __future__ import annotations

from engage.events.catalogue.agreements import AgreementBreached, AgreementRenewed, AgreementSigned
from engage.events.catalogue.service_levels import ServiceLevelBreached, ServiceLevelMeasured
from engage.events.envelope import Event
from engage.views.evidence import Component, Judged, Markings, count, count_quietly

COMPLIANCE = Component("compliance", "Whether they keep to what was agreed", weight=2, half_life_days=180)

markings = Markings()


@markings.on(AgreementSigned)
def signed(row: Judged, event: Event[AgreementSigned]) -> None:
    """An agreement is a beginning: nothing is known of how it is kept."""
    count_quietly(row, COMPLIANCE, event, 100.0, 1.0)


@markings.on(AgreementRenewed)
def renewed(row: Judged, event: Event[AgreementRenewed]) -> None:
    """Both found it worth going on."""
    count(row, COMPLIANCE, event, f"renewal {event.data.agreement_id}", 100.0)


@markings.on(AgreementBreached)
def breached(row: Judged, event: Event[AgreementBreached]) -> None:
    """A term was not kept; when it was our side that broke it, it says nothing of theirs."""
    if event.data.by != "us":
        count(row, COMPLIANCE, event, f"breach {event.id}", 0.0)


@markings.on(ServiceLevelMeasured)
def measured(row: Judged, event: Event[ServiceLevelMeasured]) -> None:
    """A level was kept, or it was not."""
    data = event.data
    kept = data.measured >= data.limit if data.direction == "at_least" else data.measured <= data.limit
    count(row, COMPLIANCE, event, f"level {event.id}", 100.0 if kept else 0.0, 0.5)


@markings.on(ServiceLevelBreached)
def level_breached(row: Judged, event: Event[ServiceLevelBreached]) -> None:
    """A service was on the wrong side of its limit."""
    count(row, COMPLIANCE, event, f"breach {event.id}", 0.0)
