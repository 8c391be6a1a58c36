"""``as_of`` over HTTP: read models as they stood at a moment, for the routes that read them as they are.

What one account made of them is folded while the request waits. A whole model is a job: whoever asks waits for it as
long as they like, is told how far it is, and finds it folded when they ask again, page by page.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from math import ceil
from typing import Annotated, Any, TypeVar

from fastapi import Query, Request

from engage.http.audited import who_commands
from engage.http.parameters import Moment
from engage.http.problems import ProblemError
from engage.http.state import jobs_of
from engage.services.jobs import Handle, Job, JobRunningError, State, until_stopped
from engage.services.past import BusyError, Past, Then
from engage.services.snapshots import Snapshot
from engage.services.views import Views
from engage.store.views import ViewStore
from engage.views.asking import Condition
from engage.views.projection import ReadModel

MODELS_WAITING = 4
"""Whole read models that may be asked for at once, the one included that is being folded."""
_KIND = "as-of"
T = TypeVar("T")

AsOf = Annotated[
    Moment | None,
    Query(
        alias="as_of",
        description="As it stood at this moment, which is past: `2026-03-01T09:00:00Z` (write + as %2B).",
        examples=["2026-03-01T09:00:00Z"],
    ),
]


async def of_account(
    request: Request, account: str, models: Sequence[ReadModel[Any]], moment: datetime, ask: Callable[[ViewStore], T]
) -> T:
    """What ``ask`` finds in ``models`` as the account alone had made them at ``moment``."""
    return await _past(request).of_account(account, models, moment, ask)


async def opened(
    request: Request, model: ReadModel[Any], moment: datetime, seconds: float
) -> Callable[[], AbstractContextManager[Views]]:
    """What opens all of ``model`` as it stood; ProblemError if it is not folded within ``seconds``."""
    past = _past(request)
    then = await past.then(model, moment)
    if await past.lives(then):
        store = request.app.state.platform.store
        return lambda: nullcontext(Views(store, [model], only=(Condition("recorded", "le", moment),)))
    snapshot = await _folded(request, then, seconds)

    @contextmanager
    def kept() -> Iterator[Views]:
        with past.snapshots.opened(snapshot) as store:
            yield Views(store, [model])

    return kept


async def _folded(request: Request, then: Then, seconds: float) -> Snapshot:
    past, jobs = _past(request), jobs_of(request)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while (found := await past.kept(then)) is None:
        job = _job(request, then)
        await jobs.ended(job, max(0.0, deadline - loop.time()))
        if job.state == "failed":
            raise ProblemError(503, f"{then.name}: {job.error}")
        if job.state == "stopped":
            raise ProblemError(503, f"{then.name} is not folded: job {job.id} was stopped; ask again to begin anew")
        if job.state == "running":
            raise _not_yet(then, job)
    return found


def _job(request: Request, then: Then) -> Job:
    """The job that folds it, begun here if nobody has asked yet."""
    past, jobs = _past(request), jobs_of(request)

    async def work(handle: Handle) -> tuple[State, Any]:
        told, began = handle.stage("folding"), asyncio.get_running_loop().time()

        def progress(done: int, total: int) -> None:
            told(done, total, done / max(1e-9, asyncio.get_running_loop().time() - began))

        return await until_stopped(past.fold(then, progress), handle.stop)

    running = [one for one in jobs.all() if one.kind == _KIND and one.state == "running"]
    try:
        if len(running) >= MODELS_WAITING and not any(then.name in one.things for one in running):
            raise BusyError
        return jobs.start(_KIND, [then.name], who_commands(request), work)
    except JobRunningError as error:
        return error.job


def _not_yet(then: Then, job: Job) -> ProblemError:
    again = ceil(job.seconds_left or 1.0)
    how_far = f"{job.done:,} of {job.total:,} records are folded" if job.total else "it has only been begun"
    return ProblemError(
        503,
        f"{then.name} is not there yet, {how_far}: ask the same again in {again} s, or with longer wait_seconds",
        {"retry-after": str(again)},
        job=job.id,
        done=job.done,
        total=job.total,
    )


def _past(request: Request) -> Past:
    past: Past = request.app.state.platform.past
    return past
