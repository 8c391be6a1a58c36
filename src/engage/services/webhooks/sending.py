"""One attempt: a signed POST, with an end to how long it may take and how much may come back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpcore
from msgspec import Struct
from standardwebhooks import Webhook

from engage.services.webhooks.destination import DestinationRefusedError, Guarded
from engage.store.webhooks import Endpoint

SECONDS = 15.0
"""How long an attempt may take, from looking up the name to the end of the answer."""
LONGEST_RETRY_AFTER = timedelta(days=1)
_ANSWER_BYTES = 65_536
_CONNECTIONS = 64
_KEPT_SECONDS = 30.0
_WORDS = 300
_OK = range(200, 300)
_REDIRECTED = range(300, 400)
GONE = 410
_FAILURES = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError)


class Reply(Struct, frozen=True):
    """What came of an attempt: ``status`` is HTTP's, None if there was no answer; ``words`` say it for people."""

    status: int | None
    words: str
    again_after: timedelta | None = None

    @property
    def taken(self) -> bool:
        """Whether the other side has it."""
        return self.status in _OK

    @property
    def gone(self) -> bool:
        """Whether the other side wants nothing more."""
        return self.status == GONE


class Sender:
    """Sends; ``private`` lets it into the house's own network. Redirects are not followed, no proxy is used."""

    def __init__(self, *, private: bool, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._guarded = Guarded(private=private)
        self._pool: httpcore.AsyncConnectionPool | None = None

    async def post(self, endpoint: Endpoint, message: str, body: bytes, now: datetime) -> Reply:
        """Send ``body`` as ``message``, signed with each secret that holds at ``now``; never raises for the network."""
        headers = {"content-type": "application/json", "user-agent": "engage", **signed(endpoint, message, body, now)}
        try:
            async with asyncio.timeout(self._seconds):
                return await self._post(endpoint.url, headers, body, now)
        except TimeoutError:
            return Reply(None, f"no answer within {self._seconds:g} s")
        except DestinationRefusedError as error:
            return Reply(None, f"refused: {error}"[:_WORDS])
        except _FAILURES as error:
            return Reply(None, f"cannot be reached: {error or type(error).__name__}"[:_WORDS])

    async def close(self) -> None:
        """Let go of the connections."""
        self._guarded.close()
        if self._pool is not None:
            await self._pool.aclose()

    async def _post(self, url: str, headers: dict[str, str], body: bytes, now: datetime) -> Reply:
        if self._pool is None:  # here, because to read the certificates of the authorities takes a while
            self._pool = httpcore.AsyncConnectionPool(
                max_connections=_CONNECTIONS,
                keepalive_expiry=_KEPT_SECONDS,
                network_backend=self._guarded,
            )
        async with self._pool.stream("POST", url, headers=list(headers.items()), content=body) as response:
            left = _ANSWER_BYTES
            async for chunk in response.aiter_stream():
                left -= len(chunk)
                if left < 0:  # the status is all we want to know; the connection is given up with the rest
                    break
            status = response.status
            words = f"HTTP {status}" + (" (redirects are not followed)" if status in _REDIRECTED else "")
            wanted = next((value for name, value in response.headers if name.lower() == b"retry-after"), None)
            return Reply(status, words, _retry_after(wanted, now))


def signed(endpoint: Endpoint, message: str, body: bytes, now: datetime) -> dict[str, str]:
    """The headers of Standard Webhooks: a signature with each secret that holds, the newest first."""
    holding = [one.value for one in endpoint.secrets if one.until is None or now < one.until]
    moment = now.astimezone(UTC)
    return {
        "webhook-id": message,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(Webhook(value).sign(message, moment, body.decode()) for value in holding),
    }


def _retry_after(value: bytes | None, now: datetime) -> timedelta | None:
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    try:
        wanted = timedelta(seconds=int(text)) if text.isdecimal() else parsedate_to_datetime(text) - now
    except (ValueError, TypeError, OverflowError):
        return None
    return max(timedelta(0), min(wanted, LONGEST_RETRY_AFTER))
