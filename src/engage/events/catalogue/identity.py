"""Identity: a visitor turned out to be an account that we know, or was taken for one and is not."""

from __future__ import annotations

from typing import ClassVar

from engage.events.catalogue.base import EventData, Ref


class IdentityLinked(EventData):
    """The subject, mostly an anonymous visitor, is ``account``: what is known of it goes there, and what comes."""

    type_name: ClassVar[str] = "identity.linked"

    account: Ref


class IdentityUnlinked(EventData):
    """The subject is not ``account`` after all: what is known of it comes back, and what comes later stays."""

    type_name: ClassVar[str] = "identity.unlinked"

    account: Ref


class IdentityParted(EventData):
    """The subject had what was said of ``visitor``, which went back; what is its own is told once more from here on."""

    type_name: ClassVar[str] = "identity.parted"

    visitor: Ref
