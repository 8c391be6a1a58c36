"""Long work that was asked for and goes on by itself: how far it is, what came of it, and how to stop it.

A job lives as long as its process. What it leaves half done is only what can be gone on with: a rebuild that was
stopped, or whose process was killed, goes on from where it stood when it is asked for again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Literal

import structlog
from msgspec import Struct

KEPT = 100
"""So many jobs that have ended can be looked at still."""

State = Literal["running", "done", "failed", "stopped"]

_log = structlog.get_logger(__name__)


class Job(Struct):
    """A job: what is done (``kind``) to which ``things``, who asked, how far it is.

    ``done`` of ``total`` records of its ``stage``, ``rate`` records a second, ``seconds_left`` as of now; ``result`` is
    there when it is done, ``error`` when it failed.
    """

    id: str
    kind: str
    things: list[str]
    actor: str
    began: datetime
    state: State = "running"
    ended: datetime | None = None
    stage: str = ""
    done: int = 0
    total: int = 0
    rate: float = 0.0
    seconds_left: float | None = None
    result: Any = None
    error: str | None = None


class JobRunningError(RuntimeError):
    """The same is being done already: wait for that ``job``, or stop it."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"{job.kind} of {', '.join(job.things)} is running: see job {job.id}, wait for it or stop it")
        self.job = job


class Handle:
    """What work has of its job: a place to say how far it is, and whether it shall ``stop``."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.stop = asyncio.Event()

    def stage(self, name: str) -> Callable[[int, int, float], None]:
        """What is told records done, records to do, and records a second of this stage."""

        def told(done: int, total: int, rate: float) -> None:
            job = self._job
            job.stage, job.done, job.total, job.rate = name, done, total, round(rate, 1)
            job.seconds_left = round((total - done) / rate, 1) if rate > 0 else None

        return told


Work = Callable[[Handle], Awaitable[tuple[State, Any]]]
"""Does it; returns how it ended and what came of it."""


class Jobs:
    """The jobs of this process."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._jobs: dict[str, Job] = {}
        self._running: dict[str, tuple[Handle, asyncio.Task[None]]] = {}

    def all(self) -> list[Job]:
        """The latest first."""
        return list(reversed(self._jobs.values()))

    def get(self, name: str) -> Job | None:
        """The job of this id."""
        return self._jobs.get(name)

    def start(self, kind: str, things: Sequence[str], actor: str, work: Work) -> Job:
        """Begin; JobRunningError while the same is being done to one of the things."""
        for other in self._jobs.values():
            if other.state == "running" and other.kind == kind and set(other.things) & set(things):
                raise JobRunningError(other)
        job = Job(f"job_{secrets.token_hex(8)}", kind, list(things), actor, self._clock())
        self._jobs[job.id] = job
        handle = Handle(job)
        self._running[job.id] = handle, asyncio.create_task(self._run(job, handle, work), name=job.id)
        ended = [one.id for one in self._jobs.values() if one.state != "running"]
        for old in ended[: max(0, len(ended) - KEPT)]:
            del self._jobs[old]
        return job

    def stop(self, name: str) -> Job | None:
        """Ask a job to end where that does no harm; None if there is none of this id."""
        if name in self._running:
            self._running[name][0].stop.set()
        return self._jobs.get(name)

    async def ended(self, job: Job, seconds: float) -> None:
        """Wait until it has ended, or so many seconds."""
        if job.id in self._running:
            await asyncio.wait([self._running[job.id][1]], timeout=seconds)

    async def close(self) -> None:
        """Stop all, and return when they have ended."""
        for handle, _ in self._running.values():
            handle.stop.set()
        await asyncio.gather(*(task for _, task in self._running.values()))

    async def _run(self, job: Job, handle: Handle, work: Work) -> None:
        try:
            job.state, job.result = await work(handle)
        except Exception as error:
            job.state, job.error = "failed", f"{type(error).__name__}: {error}"
            _log.error("a job failed", job=job.id, kind=job.kind, things=job.things, exc_info=error)
        finally:
            job.ended, job.seconds_left = self._clock(), None
            self._running.pop(job.id, None)


async def until_stopped(work: Awaitable[Any], stop: asyncio.Event) -> tuple[State, Any]:
    """Do work that only reads, and leave it where it is when ``stop`` is set."""
    doing, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((doing, stopping), return_when=asyncio.FIRST_COMPLETED)
        return ("done", doing.result()) if doing.done() else ("stopped", None)
    finally:
        for task in (doing, stopping):
            task.cancel()
        await asyncio.gather(doing, stopping, return_exceptions=True)
