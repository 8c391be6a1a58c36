"""Deal registration: partners bring us business, and want to know that it stays theirs."""

from __future__ import annotations

from engage.events.catalogue.base import Amount, Currency, EventData, Personal, Ref, Text
from engage.events.envelope import Instant


class DealRegistered(EventData):
    """A partner registered a deal it works on; ``value`` is what it may bring, ``closes`` when it may be decided.

    ``customer`` names who would buy.
    """

    deal_id: Ref
    value: Amount
    currency: Currency = "USD"
    closes: Instant | None = None
    product: Text | None = None
    customer: Personal | None = None


class DealApproved(EventData):
    """We granted the partner its deal, protected from others until ``protected_until``."""

    deal_id: Ref
    protected_until: Instant | None = None


class DealRejected(EventData):
    """We did not grant the deal; ``reason`` is a short code such as ``already_registered``."""

    deal_id: Ref
    reason: Ref | None = None
    note: Personal | None = None


class DealWon(EventData):
    """The deal came in; ``value`` is what it brought."""

    deal_id: Ref
    value: Amount | None = None
    currency: Currency = "USD"


class DealLost(EventData):
    """The deal did not come in; ``reason`` is a short code such as ``price``, ``competitor`` or ``no_decision``."""

    deal_id: Ref
    reason: Ref | None = None
    value: Amount | None = None
    currency: Currency = "USD"
    note: Personal | None = None
