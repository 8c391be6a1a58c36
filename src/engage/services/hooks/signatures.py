"""Who sent it? Signatures of inbound webhooks: Standard Webhooks, and HMAC-SHA256 as many systems send it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct
from standardwebhooks import Webhook, WebhookVerificationError

TOLERANCE = timedelta(minutes=5)
"""How far a signed timestamp may lie from now: an older message may be one that somebody recorded."""

_PREFIX = "whsec_"

Headers = Mapping[str, str]
"""By name in small letters."""
Verify = Callable[[Headers, bytes, datetime], None]
"""Raises SignatureError unless the body was signed with one of the secrets."""


class SignatureError(ValueError):
    """The message was not signed by who should have; the message says what is wrong, and nothing of the secret."""


class Hmac(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the signature stands and what it covers.

    ``header`` holds it behind ``prefix``, or with ``pairs`` as ``t=…,v1=…``. It covers ``over``, in which ``{body}``
    and ``{timestamp}`` are filled in; the timestamp (seconds) is in ``timestamp_header``, or in the pair ``t``.
    """

    header: str
    prefix: str = ""
    encoding: Literal["hex", "base64"] = "hex"
    over: str = "{body}"
    timestamp_header: str = ""
    pairs: bool = False


KNOWN: dict[str, Hmac] = {
    "github": Hmac("X-Hub-Signature-256", prefix="sha256="),
    "shopify": Hmac("X-Shopify-Hmac-Sha256", encoding="base64"),
    "stripe": Hmac("Stripe-Signature", over="{timestamp}.{body}", pairs=True),
    "slack": Hmac("X-Slack-Signature", "v0=", "hex", "v0:{timestamp}:{body}", "X-Slack-Request-Timestamp"),
}
"""How systems that many people have sign."""


def standard(secrets: Sequence[str]) -> Verify:
    """Signatures in Standard Webhooks form, by one of these ``whsec_`` secrets; ValueError if one is none."""
    if not all(secret.startswith(_PREFIX) for secret in secrets):
        raise ValueError(f"it does not begin with {_PREFIX}")
    known = [Webhook(base64.b64decode(secret.removeprefix(_PREFIX), validate=True)) for secret in secrets]

    def verify(headers: Headers, body: bytes, _now: datetime) -> None:
        words = "no signature matches"
        for webhook in known:
            try:
                webhook.verify(body, dict(headers), json_parse=False)
            except WebhookVerificationError as error:
                words = str(error)
            except ValueError:  # a header that holds no signature, or a body that is no UTF-8
                words = "its headers hold no signature of this form"
            else:
                return
        raise SignatureError(f"the message is not taken: {words[:1].lower() + words[1:]}")

    return verify


def by_hmac(how: Hmac, secrets: Sequence[str]) -> Verify:
    """HMAC-SHA256 by one of these secrets; replays are refused where a timestamp is signed."""
    keys = [secret.encode() for secret in secrets]
    header, stamp = how.header.lower(), how.timestamp_header.lower()
    before, _, after = how.over.partition("{body}")

    def verify(headers: Headers, body: bytes, now: datetime) -> None:
        given = headers.get(header)
        if given is None:
            raise SignatureError(f"the message is not taken: it has no header {how.header}")
        pairs = list(_pairs(given)) if how.pairs else []
        timestamp = headers.get(stamp, "") if stamp else next((value for name, value in pairs if name == "t"), "")
        if "{timestamp}" in how.over:
            _check_time(timestamp, now)
        texts = [value for name, value in pairs if name == "v1"] if how.pairs else [given]
        signatures = [one for text in texts if (one := _bytes(text, how)) is not None]
        signed = _filled(before, timestamp) + body + _filled(after, timestamp)
        expected = [hmac.new(key, signed, hashlib.sha256).digest() for key in keys]
        # Every one is compared with every one, whatever matches first: how long it takes says nothing.
        matches = [hmac.compare_digest(ours, one) for ours in expected for one in signatures]
        if not any(matches):
            raise SignatureError(f"the message is not taken: the signature in {how.header} does not match")

    return verify


def _filled(text: str, timestamp: str) -> bytes:
    return text.replace("{timestamp}", timestamp).encode()


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        yield name, value


def _check_time(text: str, now: datetime) -> None:
    if not text.isdecimal() or len(text) > 12:
        raise SignatureError("the message is not taken: it has no timestamp in seconds")
    if abs(int(text) - now.timestamp()) > TOLERANCE.total_seconds():
        raise SignatureError(
            f"the message is not taken: its timestamp {text} is more than {TOLERANCE.seconds // 60} minutes from now: "
            "send it anew, or set the clock right"
        )


def _bytes(text: str, how: Hmac) -> bytes | None:
    if not text.startswith(how.prefix):
        return None
    text = text.removeprefix(how.prefix)
    try:
        return bytes.fromhex(text) if how.encoding == "hex" else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None
