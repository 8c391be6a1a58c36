"""Profile: who an account is, which group it belongs to, who its contacts are (Segment's identify, group, alias)."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from engage.events.catalogue.base import Count, EventData, Personal, Ref, Text
from engage.events.catalogue.codes import Country
from engage.events.envelope import Instant

AccountKind = Literal["customer", "vendor", "supplier", "distributor", "reseller", "partner"]
Language = Annotated[str, Meta(min_length=2, max_length=35, description='BCP 47 tag, such as "en" or "pt-BR"')]
TimeZone = Annotated[str, Meta(min_length=1, max_length=64, description='IANA name, such as "Europe/Lisbon"')]
"""Which zones exist differs between machines, and a record must read the same on all: any name is taken."""


class AccountIdentified(EventData):
    """Somebody told us who the account is; what is left out stays as it was.

    ``manager`` is the id of the relationship manager, ``since`` when the relationship began.
    """

    kind: AccountKind | None = None
    name: Personal | None = None
    email: Personal | None = None
    phone: Personal | None = None
    address: Personal | None = None
    birthday: Personal | None = None
    time_zone: TimeZone | None = None
    country: Country | None = None
    language: Language | None = None
    manager: Ref | None = None
    industry: Text | None = None
    employees: Count | None = None
    plan: Ref | None = None
    since: Instant | None = None


class AccountGrouped(EventData):
    """The account belongs to a group: a company, a household, a buying association."""

    group_id: Ref
    name: Personal | None = None


class AccountAliased(EventData):
    """The account was known by ``previous_id`` before, such as an anonymous visitor's id."""

    previous_id: Ref


class ContactAdded(EventData):
    """The account has a contact, whose id is the envelope's ``contact``; ``role`` is what they do there."""

    name: Personal | None = None
    email: Personal | None = None
    phone: Personal | None = None
    role: Text | None = None


class ContactRemoved(EventData):
    """The contact whose id is the envelope's ``contact`` speaks for the account no more."""

    reason: Ref | None = None
