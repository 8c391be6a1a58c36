"""Remind a customer of the cart they left behind, once per cart, while they still want what is in it.

An order settles whatever was put into a cart before it: shops do not always say which cart an order was, and a reminder
too few costs less than one for goods that they have already paid for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from msgspec import Struct

from engage.events.catalogue.commerce import CartViewed, CheckoutStarted, OrderCompleted, ProductAdded
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Forget, Rule, RuleSettings, Wake, Woken

UNNAMED = "cart"
"""The cart of a shop that gives its carts no ids."""
_OPEN = 10
_REMEMBERED = 20


class Settings(RuleSettings):
    """A cart is left behind when nothing moved in it for ``after`` (hours); ``expires``: how long (days) we remind."""

    after: timedelta = timedelta(hours=4)
    expires: timedelta = timedelta(days=3)


class Cart(Struct, omit_defaults=True, gc=False):
    """When it was last touched, and its value in major units of ``currency`` (0: not told)."""

    last: datetime
    total: float = 0.0
    currency: str = ""


class State(Struct, omit_defaults=True, gc=False):
    """The carts that wait, by id; the latest that need no reminder (any more); and the newest order."""

    carts: dict[str, Cart] = {}
    done: list[str] = []
    bought: datetime | None = None


rule = Rule("cart-left-behind", version=1, settings=Settings(), state=State)


@rule.on(CartViewed, ProductAdded, CheckoutStarted)
def touched(
    state: State, event: Event[CartViewed | ProductAdded | CheckoutStarted], settings: Settings
) -> Iterable[Effect]:
    """They are shopping: some hours from here they will have ordered or left."""
    data = event.data
    cart_id = data.cart_id or _latest(state)
    if cart_id in state.done or (state.bought is not None and event.time <= state.bought):
        return
    cart = state.carts.get(cart_id)
    if cart is None:
        cart = state.carts[cart_id] = Cart(event.time)
        yield from _bound(state)
    newest = event.time >= cart.last
    cart.last = max(cart.last, event.time)
    if newest and not isinstance(data, ProductAdded) and data.total is not None:
        cart.total, cart.currency = data.total, data.currency
        if data.total == 0 and isinstance(data, CartViewed):
            del state.carts[cart_id]
            yield Forget(cart_id)
            return
    yield Wake(cart.last + settings.after, about=cart_id)


@rule.on(OrderCompleted)
def ordered(state: State, event: Event[OrderCompleted], settings: Settings) -> Iterable[Effect]:
    """They bought: nothing was left behind."""
    state.bought = max(state.bought or event.time, event.time)
    named = event.data.cart_id
    if not state.carts and not state.done and named is None:
        return ()  # most orders: nothing of theirs was ever left in a cart
    settled = [cart_id for cart_id, cart in state.carts.items() if cart.last <= event.time]
    if named is not None:
        _finish(state, named)
        if named in state.carts and named not in settled:
            settled.append(named)
    if UNNAMED in state.done:
        state.done.remove(UNNAMED)  # what they fill from here on is another one
    for cart_id in settled:
        del state.carts[cart_id]
    return [Forget(cart_id) for cart_id in settled]


@rule.on_wake
def left(state: State, wake: Woken, settings: Settings) -> Iterable[Effect]:
    """Hours have passed, and no order came."""
    cart = state.carts.pop(wake.about)
    _finish(state, wake.about)
    worth = f", worth {cart.total:.2f} {cart.currency}" if cart.total else ""
    yield FollowUpRequest(
        what="cart reminder",
        why=f"They left a cart behind on {cart.last.date()} at {cart.last:%H:%M}{worth} and have not ordered since.",
        about=wake.about,
        purpose="marketing",
        channels=("email",),
        due=timedelta(hours=4),
        expires=settings.expires,
        matter=rule.name,
    )


def _latest(state: State) -> str:
    """The cart that an event without a cart's id is about: the one they touched last."""
    return max(state.carts, key=lambda cart_id: state.carts[cart_id].last, default=UNNAMED)


def _bound(state: State) -> Iterator[Effect]:
    """Give up the oldest cart when somebody fills more than any customer would."""
    if len(state.carts) > _OPEN:
        oldest = min(list(state.carts)[:-1], key=lambda cart_id: state.carts[cart_id].last)
        del state.carts[oldest]
        yield Forget(oldest)


def _finish(state: State, cart_id: str) -> None:
    if cart_id not in state.done:
        state.done = [*state.done, cart_id][-_REMEMBERED:]
