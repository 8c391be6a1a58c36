"""Commerce: what customers look at, buy, receive and send back (names after Segment's e-commerce spec)."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from engage.events.catalogue.base import Amount, Count, Currency, EventData, Personal, Ref, Text
from engage.events.envelope import Instant


class Product(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One line of an order or cart; ``price`` is of one piece."""

    product_id: Ref
    quantity: Count = 1
    price: Amount | None = None
    category: Text | None = None
    sku: Ref | None = None
    name: Text | None = None
    brand: Text | None = None
    variant: Text | None = None


class ProductsSearched(EventData):
    """A customer searched the shop; ``query`` is what they typed, ``results`` how many products were found."""

    query: Personal | None = None
    category: Text | None = None
    results: Count | None = None


class ProductListViewed(EventData):
    """A customer looked at a list or category of products."""

    list_id: Ref | None = None
    category: Text | None = None
    products: tuple[Product, ...] = ()


class PromotionViewed(EventData):
    """A customer saw a promotion in the shop."""

    promotion_id: Ref
    name: Text | None = None


class PromotionClicked(EventData):
    """A customer followed a promotion in the shop."""

    promotion_id: Ref
    name: Text | None = None


class ProductViewed(EventData):
    """A customer looked at a product; ``price`` is of one piece."""

    product_id: Ref
    category: Text | None = None
    price: Amount | None = None
    currency: Currency = "USD"
    sku: Ref | None = None
    name: Text | None = None
    brand: Text | None = None
    variant: Text | None = None


class ProductAdded(EventData):
    """A customer put a product into their cart; ``price`` is of one piece."""

    product_id: Ref
    cart_id: Ref | None = None
    quantity: Count = 1
    category: Text | None = None
    price: Amount | None = None
    currency: Currency = "USD"
    sku: Ref | None = None
    name: Text | None = None
    brand: Text | None = None
    variant: Text | None = None


class ProductRemoved(EventData):
    """A customer took a product out of their cart."""

    product_id: Ref
    cart_id: Ref | None = None
    quantity: Count = 1
    category: Text | None = None


class ProductAddedToWishlist(EventData):
    """A customer put a product on their wish list; ``price`` is of one piece."""

    type_name: ClassVar[str] = "Product Added to Wishlist"

    product_id: Ref
    wishlist_id: Ref | None = None
    category: Text | None = None
    price: Amount | None = None
    currency: Currency = "USD"
    name: Text | None = None


class CartViewed(EventData):
    """A customer looked at their cart."""

    cart_id: Ref
    total: Amount | None = None
    currency: Currency = "USD"
    products: tuple[Product, ...] = ()


class CheckoutStarted(EventData):
    """A customer went to the checkout; ``order_id``, ``cart_id`` or both say with what."""

    order_id: Ref | None = None
    cart_id: Ref | None = None
    total: Amount | None = None
    currency: Currency = "USD"
    products: tuple[Product, ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError without both ids: nothing could tell that this checkout was finished."""
        if self.order_id is None and self.cart_id is None:
            raise ValueError("a checkout needs an order_id or a cart_id")


class CouponApplied(EventData):
    """A coupon lowered the price of an order or cart; ``discount`` is the amount taken off."""

    coupon_id: Ref
    order_id: Ref | None = None
    cart_id: Ref | None = None
    discount: Amount | None = None
    currency: Currency = "USD"


class OrderCompleted(EventData):
    """A customer placed an order and paid for it; ``discount`` is already taken off ``total``."""

    order_id: Ref
    total: Amount
    currency: Currency = "USD"
    products: tuple[Product, ...] = ()
    cart_id: Ref | None = None
    shipping: Amount | None = None
    tax: Amount | None = None
    discount: Amount | None = None
    coupon: Ref | None = None


class OrderUpdated(EventData):
    """A placed order was changed: ``total`` and ``products`` are those after the change."""

    order_id: Ref
    total: Amount
    currency: Currency = "USD"
    products: tuple[Product, ...] = ()


class OrderShipped(EventData):
    """The goods of an order left the house; ``expected`` is when they should arrive."""

    order_id: Ref
    carrier: Text | None = None
    expected: Instant | None = None


class OrderDelivered(EventData):
    """The goods of an order reached the customer; ``promised`` is when they should have, at the latest."""

    order_id: Ref
    promised: Instant | None = None


class OrderRefunded(EventData):
    """Money for an order went back: ``total`` is what was refunded, ``products`` what it was refunded for.

    ``reason`` is a short code such as ``damaged`` or ``too_late``.
    """

    order_id: Ref
    total: Amount
    currency: Currency = "USD"
    reason: Ref | None = None
    products: tuple[Product, ...] = ()


class OrderCancelled(EventData):
    """An order was called off before it arrived; ``reason`` is a short code such as ``out_of_stock``."""

    order_id: Ref
    total: Amount | None = None
    currency: Currency = "USD"
    reason: Ref | None = None
    products: tuple[Product, ...] = ()


class PaymentFailed(EventData):
    """A payment for an order did not go through; ``reason`` is a short code such as ``card_expired``."""

    order_id: Ref
    total: Amount | None = None
    currency: Currency = "USD"
    reason: Ref | None = None


class ChargebackReceived(EventData):
    """The customer's bank took the money for an order back; ``reason`` is a short code such as ``not_received``."""

    order_id: Ref
    total: Amount
    currency: Currency = "USD"
    reason: Ref | None = None
