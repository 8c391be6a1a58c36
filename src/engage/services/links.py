"""Links that may be sent to people: signed, bound to one account and one purpose, and of no use after a while.

A token can be read by whoever has it and changed by nobody: it holds an account id, and ids of what was sent.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import urlsplit

import msgspec
from itsdangerous import BadSignature, Signer
from msgspec import Struct

from engage.events.catalogue.base import Ref, Text
from engage.events.catalogue.follow_up import Purpose
from engage.events.catalogue.surveys import SurveyKind

_SALT = b"engage.links"
_MAX_TOKEN = 4_000
_MAX_TARGET = 2_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)


class _Link(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What every link says: whose it is, and for how many days it holds, None as long as its kind usually does."""

    letter: ClassVar[str]
    usual_days: ClassVar[int]

    account: Ref
    days: int | None = None


class Unsubscribe(_Link, frozen=True, tag="unsubscribe"):
    """Leads to a page that ends a newsletter, or all of them where no list is named."""

    letter: ClassVar[str] = "u"
    usual_days: ClassVar[int] = 730

    list_id: Ref | None = None
    newsletter_id: Ref | None = None


class Withdraw(_Link, frozen=True, tag="withdraw"):
    """Leads to a page that withdraws consent to a channel for a purpose."""

    letter: ClassVar[str] = "w"
    usual_days: ClassVar[int] = 730

    channel: Ref
    purpose: Purpose


class Survey(_Link, frozen=True, tag="survey"):
    """Leads to a page that asks one question; ``score`` is chosen there already."""

    letter: ClassVar[str] = "s"
    usual_days: ClassVar[int] = 60

    survey_id: Ref
    survey: SurveyKind
    order_id: Ref | None = None
    ticket_id: Ref | None = None
    score: int | None = None


class Opened(_Link, frozen=True, tag="pixel"):
    """An image that is not seen: whoever loads it has opened the issue."""

    letter: ClassVar[str] = "o"
    usual_days: ClassVar[int] = 90

    newsletter_id: Ref
    list_id: Ref | None = None
    campaign: Ref | None = None


class Clicked(_Link, frozen=True, tag="click"):
    """Leads on to ``to``; ``label`` is what the log says of it, the address without its query where left out."""

    letter: ClassVar[str] = "c"
    usual_days: ClassVar[int] = 90

    newsletter_id: Ref
    to: str
    label: Text | None = None
    topic: Text | None = None
    list_id: Ref | None = None
    campaign: Ref | None = None


Link = Unsubscribe | Withdraw | Survey | Opened | Clicked
KINDS: dict[str, type[Link]] = {kind.letter: kind for kind in (Unsubscribe, Withdraw, Survey, Opened, Clicked)}


class LinkError(ValueError):
    """A link that cannot be made: what is wrong with it."""


class BadLinkError(ValueError):
    """A token that is none of ours, or was changed on its way."""


class Found(Struct, frozen=True):
    """What a token says, and whether it still holds."""

    link: Link
    holds: bool


class Links:
    """Makes links below ``base`` (``https://engage.example``) and reads them.

    ``keys`` tells which 32 secret bytes sign now, and those that older links were signed with.
    """

    def __init__(self, keys: Callable[[], Sequence[bytes]], base: str, clock: Callable[[], datetime]) -> None:
        self._keys = keys
        self._base = base.rstrip("/")
        self._clock = clock

    def url(self, link: Link) -> str:
        """The address to send; LinkError if it would lead nowhere."""
        return f"{self._base}/l/{self.token(link)}"

    def headers(self, link: Unsubscribe | Withdraw) -> dict[str, str]:
        """Headers of a mail by which its reader unsubscribes in one click (RFC 8058); have DKIM sign them."""
        return {"List-Unsubscribe": f"<{self.url(link)}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}

    def token(self, link: Link) -> str:
        """What stands behind ``/l/``."""
        if isinstance(link, Clicked):
            _check_target(link.to)
        days = link.usual_days if link.days is None else link.days
        if not 0 < days < 36_500:
            raise LinkError(f"a link that holds for {days} days cannot be: give 1 to 36,499")
        until = (self._clock() + timedelta(days=days) - _EPOCH) // _HOUR
        values = [getattr(link, name) for name in _fields(type(link))]
        while values and values[-1] is None:
            values.pop()
        packed = base64.urlsafe_b64encode(msgspec.msgpack.encode([link.letter, until, *values])).rstrip(b"=")
        token = self._signer().sign(packed).decode()
        if len(token) > _MAX_TOKEN:
            raise LinkError(f"the link has {len(token):,} characters and may have {_MAX_TOKEN:,}: shorten what it says")
        return token

    def read(self, token: str) -> Found:
        """What a token says; BadLinkError if it is not one that was made here."""
        if len(token) > _MAX_TOKEN or not token.isascii():
            raise BadLinkError("this is no link of engage's")
        try:
            packed = self._signer().unsign(token)
            whole = base64.urlsafe_b64decode(packed + b"=" * (-len(packed) % 4))
            letter, until, *values = msgspec.msgpack.decode(whole)
        except (BadSignature, ValueError, msgspec.DecodeError) as error:
            raise BadLinkError("this is no link of engage's, or it was changed on its way") from error
        kind = KINDS.get(letter)
        if kind is None:
            raise BadLinkError(f"this link is of a kind {letter!r} that this engage does not know: update it")
        said: dict[str, Any] = dict(zip(_fields(kind), values, strict=False))
        return Found(kind(**said), self._clock() < _EPOCH + until * _HOUR)

    def _signer(self) -> Signer:
        # The last one signs, and is the first that is tried.
        known = list(reversed(self._keys()))
        return Signer(known, salt=_SALT, key_derivation="hmac", digest_method=hashlib.sha256)


def _fields(kind: type[Link]) -> list[str]:
    """What a token says in which order; a field that comes later goes to the end, so that old links are still read."""
    return ["account", *(name for name in kind.__struct_fields__ if name not in ("account", "days"))]


def _check_target(target: str) -> None:
    try:
        parts = urlsplit(target)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.username
    except ValueError:
        whole = False
    if not whole or not target.isascii() or not target.isprintable() or " " in target or len(target) > _MAX_TARGET:
        raise LinkError(f"{target[:80]!r} is no place to lead to: give http(s)://host/path in ASCII")
