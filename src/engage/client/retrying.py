"""When a request is sent again, and how long that waits: what the service asks for, else ever longer, by chance."""

from __future__ import annotations

import random
import time
from typing import Any

import httpx

from engage.client.calls import Call, ClientError, asked_for, error_of

_BUSY = frozenset({429, 502, 503})
_FIRST_SECONDS, _MOST_SECONDS = 0.1, 10.0
# These fail before a byte of the request has left: whatever it asks for, it was not done.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Patience:
    """How often and how long one call to ``url`` is tried again: for ``seconds`` in all."""

    def __init__(self, call: Call[Any], url: str, seconds: float) -> None:
        self._call = call
        self._url = url
        self._until = time.monotonic() + seconds
        self._tried = 0

    def after(self, response: httpx.Response) -> float | None:
        """How many seconds to wait before the same again; None if this is the answer. ClientError if it stays busy."""
        if response.status_code not in _BUSY or not (self._call.repeatable or response.status_code != 502):
            return None
        wait = self._wait(asked_for(response))
        if wait is None:
            raise error_of(response)
        return wait

    def after_failure(self, error: httpx.HTTPError) -> float:
        """How many seconds to wait before the same again; ClientError if there is no use in it, or no time left."""
        again = self._call.repeatable or isinstance(error, _NOT_SENT)
        wait = self._wait(None) if again else None
        if wait is not None:
            return wait
        if isinstance(error, httpx.TimeoutException) and not isinstance(error, _NOT_SENT):
            raise ClientError(
                f"{self._url} did not answer in time: see whether it is busy, then do the same again; what it has "
                "taken already is not taken twice"
            ) from error
        raise ClientError(
            f"{self._url} cannot be reached ({error}): see that `engage up` runs there, then do the same again"
        ) from error

    def _wait(self, asked: float | None) -> float | None:
        most = min(_FIRST_SECONDS * 2**self._tried, _MOST_SECONDS)
        self._tried += 1
        # By chance, so that those who were sent away together do not come back together; never before we were told.
        wait = (asked or 0.0) + random.uniform(most / 2, most)
        return wait if time.monotonic() + wait <= self._until else None
