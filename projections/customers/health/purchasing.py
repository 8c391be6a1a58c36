"""How much a customer buys, and how lately: this carries the score; and what became of the payments."""

from __future__ import annotations

from math import expm1, log1p

from engage.events.catalogue.commerce import (
    ChargebackReceived,
    OrderCancelled,
    OrderCompleted,
    OrderRefunded,
    OrderUpdated,
    PaymentFailed,
)
from engage.events.envelope import Event
from engage.views.evidence import Component, Judged, Markings, count, count_quietly, find, reweigh
from projections.shared.payment_health import PAYMENTS

PURCHASING = Component(
    "purchasing", "How much they buy, and how lately", weight=6, half_life_days=90, prior=10, credible_after=0, middle=0
)
"""Marks of 100 that weigh log(1 + amount): 100·x/(x + 10), x their decayed sum.

Half-life and prior were chosen on the CDNOW purchases up to 1997-09-30 alone (``engage benchmark health`` prints the
choice): no other half-life ranked better who bought again within three months, and with this prior the value is about
the chance of it in per cent. An amount counts as it stands, whatever its currency: a logarithm forgives a factor.
"""

markings = Markings()


@markings.on(OrderCompleted)
def bought(row: Judged, event: Event[OrderCompleted]) -> None:
    """A purchase; a payment that had failed has gone through after all."""
    about = f"order {event.data.order_id}"
    count(row, PURCHASING, event, about, 100.0, log1p(max(event.data.total, 0.0)))
    if find(row, PAYMENTS, about) is not None:
        count(row, PAYMENTS, event, about, 70.0)
    else:
        count_quietly(row, PAYMENTS, event, 100.0, 0.5)


@markings.on(OrderUpdated)
def updated(row: Judged, event: Event[OrderUpdated]) -> None:
    """The purchase is worth its new total."""
    reweigh(row, PURCHASING, f"order {event.data.order_id}", log1p(max(event.data.total, 0.0)))


@markings.on(OrderCancelled)
def cancelled(row: Judged, event: Event[OrderCancelled]) -> None:
    """The purchase came to nothing."""
    reweigh(row, PURCHASING, f"order {event.data.order_id}", 0.0)


@markings.on(OrderRefunded)
def refunded(row: Judged, event: Event[OrderRefunded]) -> None:
    """What was refunded was not bought, and somebody was disappointed."""
    about = f"order {event.data.order_id}"
    purchase = find(row, PURCHASING, about)
    if purchase is not None:
        reweigh(row, PURCHASING, about, log1p(max(expm1(purchase.weight) - max(event.data.total, 0.0), 0.0)))
    count(row, PAYMENTS, event, f"refund {event.data.order_id}", 30.0)


@markings.on(PaymentFailed)
def payment_failed(row: Judged, event: Event[PaymentFailed]) -> None:
    """Money that has not come, so far."""
    count(row, PAYMENTS, event, f"order {event.data.order_id}", 20.0)


@markings.on(ChargebackReceived)
def charged_back(row: Judged, event: Event[ChargebackReceived]) -> None:
    """The worst that can become of a payment."""
    count(row, PAYMENTS, event, f"chargeback {event.data.order_id}", 0.0, 3.0)
