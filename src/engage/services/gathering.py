"""Group commit: what several publish at the same time is taken in one call, and each gets its own answers.

To call costs about as much however many events there are, so what comes while as many calls as may be are under way
waits for the next. Keys are looked up once, and a partition of Kafka's gets one batch; embedded, calls that wait for
the disk share a transaction besides (``Committing``).
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from msgspec import Raw

from engage.events.envelope import Event
from engage.log.contract import Answer
from engage.log.sqlite import LogMovedError
from engage.log.topics import BrokerUnavailableError
from engage.services.committing import AbandonedError

MOST = 1_600
"""Events of one call: it holds the event loop for tens of milliseconds at most, and others have their turn."""
_ROUNDS = 2
"""Turns of the event loop in which who is ready to publish is waited for: bytes arrive in one, requests in the next."""
_SIBLINGS = 4
"""As many as this must have shared the last call for the next one to wait a little: who publishes alone never waits."""
_NOBODYS_FAULT = (BrokerUnavailableError, sqlite3.OperationalError)
"""What a log that cannot be written to raises, whatever it is given: each by itself would fail as all do together, and
each failure has the engines read back."""

Events = Sequence[bytes | Event[Raw]]
Publish = Callable[[Events], Awaitable[list[Answer]]]


class Gathering:
    """Hands what is published to ``publish`` together; ``at_once`` says how many such calls may be under way.

    ``apart``: seconds from one call to the next where many publish, as PostgreSQL's ``commit_delay`` has it: a call
    costs what several events do, and would be made for half a dozen of them.
    """

    def __init__(self, publish: Publish, *, at_once: int = 1, most: int = MOST, apart: float = 0.0) -> None:
        self._publish = publish
        self._apart = apart
        self._next = 0.0
        self._most = most
        self._at_once = at_once
        self._waiting: deque[tuple[Events, asyncio.Future[list[Answer]]]] = deque()
        self._working = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def publish(self, events: Events) -> list[Answer]:
        """See ``Publisher.publish``. More events than fit one call are taken in several, in order."""
        if len(events) <= self._most:
            return await self.begun(events)
        answers: list[Answer] = []
        for start in range(0, len(events), self._most):
            answers += await self.begun(events[start : start + self._most])
        return answers

    def begun(self, events: Events) -> asyncio.Future[list[Answer]]:
        """``publish`` for who waits in another way than a task does, of no more events than fit one call."""
        answers: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._waiting.append((events, answers))
        if self._working < self._at_once:
            self._working += 1
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return answers

    async def _work(self) -> None:
        try:
            while self._waiting:
                for _ in range(_ROUNDS):
                    await asyncio.sleep(0)
                await self._turn()
                if gathered := self._gathered():
                    if len(gathered) >= _SIBLINGS:
                        self._next = time.monotonic() + self._apart
                    await self._take(gathered)
        finally:
            self._working -= 1

    async def _turn(self) -> None:
        """Wait until the next call is due; others who waited as long may have made it by then."""
        while True:
            early = self._next - time.monotonic()
            if early <= 0:
                return
            await asyncio.sleep(early)

    def _gathered(self) -> list[tuple[Events, asyncio.Future[list[Answer]]]]:
        gathered: list[tuple[Events, asyncio.Future[list[Answer]]]] = []
        size = 0
        while self._waiting and (not gathered or size + len(self._waiting[0][0]) <= self._most):
            events, answers = self._waiting.popleft()
            if not answers.done():  # who has been cancelled has published nothing
                gathered.append((events, answers))
                size += len(events)
        return gathered

    async def _take(self, gathered: list[tuple[Events, asyncio.Future[list[Answer]]]]) -> None:
        joined = [event for events, _ in gathered for event in events]
        try:
            taken = await self._published(joined)
        except BaseException as error:
            if len(gathered) > 1 and isinstance(error, Exception) and not isinstance(error, _NOBODYS_FAULT):
                # Nothing was taken, and it may be the fault of one: each by itself, so that it sinks no other.
                for one in gathered:
                    await self._take([one])
                return
            for _, answers in gathered:
                if not answers.done():
                    answers.set_exception(error) if isinstance(error, Exception) else answers.cancel()
            if not isinstance(error, Exception):
                raise
            return
        at = 0
        for events, answers in gathered:
            if not answers.done():
                answers.set_result(taken[at : at + len(events)])
            at += len(events)

    async def _published(self, events: Events) -> list[Answer]:
        while True:
            try:
                return await self._publish(events)
            except (AbandonedError, LogMovedError):  # what failed was not theirs
                continue
