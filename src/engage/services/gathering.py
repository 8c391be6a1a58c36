"""Group commit: what several publish at the same time is taken in one call, and each gets its own answers.

To call costs about as much however many events there are, so what comes while as many calls as may be are under way
waits for the next. A partition of Kafka's gets one batch; embedded, calls that wait for the disk share a transaction
besides (``Committing``).
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from msgspec import Raw, Struct

from engage.events.envelope import Event
from engage.events.validation import Refusal
from engage.log.contract import Answer
from engage.log.sqlite import LogMovedError
from engage.log.topics import BrokerUnavailableError
from engage.services.committing import AbandonedError
from engage.services.edge import Edge, Looked

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
Checked = Sequence[Event[Raw] | Refusal]


class _Waiting(Struct, eq=False):
    """Events as they came and as they are to be published, and who waits for the answers."""

    events: Events
    checked: Checked
    answers: asyncio.Future[list[Answer]]


class Gathering:
    """Hands what came over ``edge`` to ``append`` together; ``at_once`` says how many such calls may be under way.

    Who needs a key that is still to be made comes to a later call: others do not wait for that.
    ``apart``: seconds from one call to the next where many publish, as PostgreSQL's ``commit_delay`` has it: a call
    costs what several events do, and would be made for half a dozen of them.
    """

    def __init__(
        self,
        edge: Edge,
        append: Callable[[Checked], Awaitable[list[Answer]]],
        *,
        at_once: int = 1,
        most: int = MOST,
        apart: float = 0.0,
    ) -> None:
        self._edge = edge
        self._append = append
        self._apart = apart
        self._next = 0.0
        self._most = most
        self._at_once = at_once
        self._waiting: deque[_Waiting] = deque()
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
        try:
            looked = self._edge.look(events)
            if looked.without:
                self._begin(self._behind_keys(events, looked, answers))
            else:
                self._wait(_Waiting(events, looked.sealed({}), answers))
        except Exception as error:
            answers.set_exception(error)
        return answers

    async def _behind_keys(self, events: Events, looked: Looked, answers: asyncio.Future[list[Answer]]) -> None:
        try:
            checked = looked.sealed(await self._edge.keys(looked.without))
        except BaseException as error:
            _fail(answers, error)
            if not isinstance(error, Exception):
                raise
        else:
            self._wait(_Waiting(events, checked, answers))

    def _wait(self, one: _Waiting) -> None:
        self._waiting.append(one)
        if self._working < self._at_once:
            self._working += 1
            self._begin(self._work())

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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

    def _gathered(self) -> list[_Waiting]:
        gathered: list[_Waiting] = []
        size = 0
        while self._waiting and (not gathered or size + len(self._waiting[0].events) <= self._most):
            one = self._waiting.popleft()
            if not one.answers.done():  # who has been cancelled has published nothing
                gathered.append(one)
                size += len(one.events)
        return gathered

    async def _take(self, gathered: Sequence[_Waiting]) -> None:
        try:
            taken = await self._appended(gathered)
        except BaseException as error:
            if len(gathered) > 1 and isinstance(error, Exception) and not isinstance(error, _NOBODYS_FAULT):
                # Nothing was taken, and it may be the fault of one: each by itself, so that it sinks no other.
                for one in gathered:
                    await self._take_again(one)
                return
            for one in gathered:
                _fail(one.answers, error)
            if not isinstance(error, Exception):
                raise
            return
        at = 0
        for one in gathered:
            if not one.answers.done():
                one.answers.set_result(taken[at : at + len(one.events)])
            at += len(one.events)

    async def _take_again(self, one: _Waiting) -> None:
        try:
            one.checked = await self._edge.take(one.events)
        except Exception as error:
            _fail(one.answers, error)
        else:
            await self._take([one])

    async def _appended(self, gathered: Sequence[_Waiting]) -> list[Answer]:
        while True:
            try:
                return await self._append([event for one in gathered for event in one.checked])
            except (AbandonedError, LogMovedError):  # what failed was not theirs
                for one in gathered:  # anew, for what was handed to the log bears its marks
                    one.checked = await self._edge.take(one.events)


def _fail(answers: asyncio.Future[list[Answer]], error: BaseException) -> None:
    if not answers.done():
        answers.set_exception(error) if isinstance(error, Exception) else answers.cancel()
