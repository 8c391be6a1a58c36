"""Terms of agreements that engage measures itself, by what was delivered."""

from __future__ import annotations

from typing import ClassVar

from engage.events.catalogue.agreements import LimitDirection
from engage.events.catalogue.base import EventData, Ref


class AgreementTermMeasured(EventData):
    """What engage has counted itself, of deliveries and inspections, puts a term at ``measured``, in ``unit``."""

    type_name: ClassVar[str] = "agreement.term_measured"

    agreement_id: Ref
    term: Ref
    measured: float
    limit: float
    direction: LimitDirection
    unit: Ref
