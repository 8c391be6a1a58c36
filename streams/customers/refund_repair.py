"""Repair what a refund or a chargeback broke: money back settles the bill and not yet the relationship."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from msgspec import Struct

from engage.events.catalogue.commerce import ChargebackReceived, OrderRefunded
from engage.events.envelope import Event
from engage.rules.rule import MANAGER, Effect, FollowUpRequest, Rule, RuleSettings

_REMEMBERED = 20


class Settings(RuleSettings):
    """From ``large`` on (major units of its currency) a refund is the manager's, below it is answered by e-mail.

    ``refund_due`` (days) and ``chargeback_due`` (hours): how soon; ``expires``: how long (days) a word helps.
    """

    large: float = 100.0
    refund_due: timedelta = timedelta(days=1)
    chargeback_due: timedelta = timedelta(hours=8)
    expires: timedelta = timedelta(days=14)


class State(Struct, omit_defaults=True, gc=False):
    """The latest orders of which a refund was answered, and those that were charged back."""

    refunded: list[str] = []
    charged_back: list[str] = []


rule = Rule("refund-repair", version=1, settings=Settings(), state=State)


@rule.on(OrderRefunded)
def refunded(state: State, event: Event[OrderRefunded], settings: Settings) -> Iterable[Effect]:
    """We sent money back: once per order, and not for one whose chargeback the manager has."""
    data = event.data
    if data.total <= 0 or data.order_id in state.refunded or data.order_id in state.charged_back:
        return
    state.refunded = [*state.refunded, data.order_id][-_REMEMBERED:]
    large = data.total >= settings.large
    yield FollowUpRequest(
        what="refund repair",
        why=f"{data.total:.2f} {data.currency} of order {data.order_id} went back to them on "
        f"{event.time.date()}{_because(data.reason)}.",
        about=data.order_id,
        purpose="service",
        channels=(MANAGER,) if large else ("email",),
        priority="high" if large else "normal",
        due=settings.refund_due,
        expires=settings.expires,
        matter=f"refund|{data.order_id}",
    )


@rule.on(ChargebackReceived)
def charged_back(state: State, event: Event[ChargebackReceived], settings: Settings) -> Iterable[Effect]:
    """Their bank took it back: they did not even ask us. A refund before it makes it no less urgent."""
    data = event.data
    if data.order_id in state.charged_back:
        return
    state.charged_back = [*state.charged_back, data.order_id][-_REMEMBERED:]
    yield FollowUpRequest(
        what="chargeback repair",
        why=f"Their bank took {data.total:.2f} {data.currency} of order {data.order_id} back on "
        f"{event.time.date()}{_because(data.reason)}.",
        about=data.order_id,
        purpose="service",
        priority="urgent",
        due=settings.chargeback_due,
        expires=settings.expires,
        matter=f"chargeback|{data.order_id}",
    )


def _because(reason: str | None) -> str:
    return f" ({reason})" if reason else ""
