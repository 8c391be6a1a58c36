"""Publish without waiting for engage: events are on disk when ``put`` returns, and a thread sends them in batches."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from engage.client.asking import Client
from engage.client.calls import BATCH_BYTES, BATCH_EVENTS, ClientError, Given, encode
from engage.client.spool import MOST_BYTES, Spool
from engage.events.validation import Fault, Refusal, RefusalClass

Refused = Callable[[bytes, Refusal], None]
_ANSWER_SECONDS = 30.0
_FIRST_SECONDS, _MOST_SECONDS = 0.1, 10.0
_NOT_TAKEN: dict[int, RefusalClass] = {400: "not_json", 413: "too_large", 422: "envelope"}
"""Statuses that blame what was sent, and what that means of a single event."""


class Outbox:
    """Sends what is ``put`` to the engage at ``url`` in order, for as long as it takes; use it in a ``with`` block.

    A batch goes when ``batch_events`` wait, or ``seconds`` after the first of them. While engage is away they stay in
    the spool in ``folder``, also when this process is killed: the next Outbox of the folder goes on. What engage
    refuses is handed to ``refused`` (on the sending thread) or, without one, kept in ``refused.ndjson`` there, and does
    not hold up the others. ``trouble`` says why nothing can be sent just now, None when all is well.
    """

    def __init__(
        self,
        url: str,
        folder: str | Path,
        *,
        key: str | None = None,
        batch_events: int = BATCH_EVENTS,
        seconds: float = 0.2,
        most_bytes: int = MOST_BYTES,
        refused: Refused | None = None,
    ) -> None:
        self.trouble: str | None = None
        self._client = Client(url, key=key, seconds=_ANSWER_SECONDS, patience=0)
        self._spool = Spool(folder, most_bytes=most_bytes)
        self._batch = min(batch_events, BATCH_EVENTS)
        self._seconds = seconds
        self._refused = refused or self._keep
        self._put = 0
        self._news = threading.Condition()
        self._hurried = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="engage-outbox", daemon=True)
        self._thread.start()

    def put(self, *events: Given) -> None:
        """Keep events for engage; when it returns they are on disk.

        SpoolFullError while too much waits, ValueError for what is no JSON: nothing of this call is kept then.
        """
        self._spool.append(b"".join(_line(event) for event in events))
        with self._news:
            self._put += len(events)
            self._news.notify_all()

    def flush(self, seconds: float) -> bool:
        """Send at once, and wait until all is sent; whether that was done in time."""
        with self._news:
            self._hurried = True
            self._news.notify_all()
            done = self._news.wait_for(lambda: not self._spool.waiting, seconds)
            self._hurried = False
        return done

    def close(self, seconds: float = 5.0) -> None:
        """Send what can be sent in so many seconds, and end; the rest stays on disk for the next Outbox."""
        self.flush(seconds)
        with self._news:
            self._ended = True
            self._news.notify_all()
        self._thread.join()
        self._spool.close()
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        failures = 0
        while True:
            with self._news:
                self._news.wait_for(lambda: self._spool.waiting or self._ended)
                if self._ended:
                    return
                self._news.wait_for(lambda: self._hurried or self._ended or self._put >= self._batch, self._seconds)
                self._put = 0
            try:
                self._send()
                self.trouble, failures = None, 0
            except Exception as error:  # a thread that ends would leave the spool to fill in silence
                self.trouble = f"{type(error).__name__}: {error}"
                patience = min(_FIRST_SECONDS * 2**failures, _MOST_SECONDS)
                failures += 1
                with self._news:
                    self._news.wait_for(lambda: self._ended, max(patience, getattr(error, "retry_after", None) or 0))

    def _send(self) -> None:
        most = self._batch
        while not self._ended and (lines := self._spool.next(BATCH_BYTES, most)):
            try:
                answers = self._client.publish(lines)
            except ClientError as error:
                if error.status not in _NOT_TAKEN:
                    raise
                if len(lines) > 1:  # one that nobody can read must not hold up the others: it is found by halving
                    most = len(lines) // 2
                    continue
                answers = [Refusal(_NOT_TAKEN[error.status], (Fault("", str(error)),))]
            for line, answer in zip(lines, answers, strict=True):
                if isinstance(answer, Refusal):
                    self._refused(line, answer)
            self._spool.done(lines)
            most = self._batch
            with self._news:
                self._news.notify_all()

    def _keep(self, line: bytes, refusal: Refusal) -> None:
        told = {"reason": refusal.reason, "faults": refusal.faults, "event": msgspec.Raw(line)}
        with (self._spool.folder / "refused.ndjson").open("ab") as file:
            file.write(encode(told) + b"\n")


def _line(event: Given) -> bytes:
    if not isinstance(event, bytes):
        return encode(event) + b"\n"
    try:
        return msgspec.json.format(event, indent=-1) + b"\n"
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"an event is JSON, and this is not: {error}") from error
