"""The read models as operators see them: how they stand, and their verbs; long work is a job to look at."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from urllib.parse import unquote

import msgspec
from fastapi import APIRouter, Query, Request, Response
from msgspec import Struct

from engage.http.audited import who_commands
from engage.http.documents import DOCUMENTS, JSON, problems
from engage.http.guard import guarded
from engage.http.problems import ProblemError
from engage.http.state import jobs_of, platform_of
from engage.http.views import views_of
from engage.services import pausing
from engage.services.jobs import Handle, Job, JobRunningError, State, until_stopped
from engage.services.pausing import Pausing
from engage.services.platform import Platform
from engage.services.projection_status import ProjectionStatus, read_projections
from engage.store.beginning import is_of
from engage.views.projection import ReadModel

router = APIRouter(tags=["operate"], **guarded("operate", own_trail=True))


class Projections(Struct):
    """How every read model stands."""

    projections: list[ProjectionStatus]


class JobList(Struct):
    """The jobs of this process, the latest first."""

    jobs: list[Job]


class RolledBack(Struct):
    """How many rows readers see another of than before (``differing``)."""

    names: list[str]
    differing: int


_STATUS = {
    "name": "loyalty",
    "version": 1,
    "positions": [4711, 4650, 4801, 4722],
    "behind": 0,
    "rows": 1280,
    "parked": 0,
    "beside": None,
    "previous": True,
    "paused": None,
}
_PAUSING = {"names": ["loyalty"], "paused": {"since": "2026-03-01T10:00:00Z", "by": "ada"}, "changed": True}
_JOB = {
    "id": "job_5f2c9d0e3b1f6a2f",
    "kind": "rebuild",
    "things": ["loyalty"],
    "actor": "ada",
    "began": "2026-03-01T10:00:00Z",
    "state": "running",
    "ended": None,
    "stage": "folding",
    "done": 12000,
    "total": 48000,
    "rate": 8120.5,
    "seconds_left": 4.4,
    "result": None,
    "error": None,
}
_UNKNOWN = problems(_404="No such read model.")
_WRONG = problems(_422="A parameter is wrong.")
Sample = Annotated[
    int | None, Query(ge=1, le=2**31, description="Prove about so many rows of a table; all, if it is left out.")
]


@router.get(
    "/v1/projections",
    summary="How the read models stand",
    response_class=Response,
    responses={200: DOCUMENTS.answer(Projections, "Every read model.", {"projections": [_STATUS]})},
)
async def listed(request: Request) -> Response:
    """Version, positions, lag, rows, what stands still, what is built beside, what is kept of before, who paused it."""
    platform = platform_of(request)
    found = await read_projections(platform.log, platform.store, platform.projector.projections)
    return Response(msgspec.json.encode(Projections(found)), media_type=JSON)


@router.post(
    "/v1/projections/{name}/pause",
    summary="Let a read model stand still",
    response_class=Response,
    responses={200: DOCUMENTS.answer(Pausing, "It stands still, its family with it.", _PAUSING), **_UNKNOWN},
)
async def pause(request: Request, name: str) -> Response:
    """In every process that projects, and across restarts; readers read it as it stands."""
    platform, model = platform_of(request), views_of(request).named(name)
    by = who_commands(request)

    def do() -> Pausing:
        with platform.trail.of(by, "projections pause", name):
            return pausing.pause(platform.store, platform.projector.projections, model, by=by, at=platform.clock())

    return Response(msgspec.json.encode(await asyncio.to_thread(do)), media_type=JSON)


@router.post(
    "/v1/projections/{name}/resume",
    summary="Let a read model go on",
    response_class=Response,
    responses={200: DOCUMENTS.answer(Pausing, "It goes on, its family with it; how it was.", _PAUSING), **_UNKNOWN},
)
async def resume(request: Request, name: str) -> Response:
    """From where it stands."""
    platform, model = platform_of(request), views_of(request).named(name)

    def do() -> Pausing:
        with platform.trail.of(who_commands(request), "projections resume", name):
            return pausing.resume(platform.store, platform.projector.projections, model)

    return Response(msgspec.json.encode(await asyncio.to_thread(do)), media_type=JSON)


@router.post(
    "/v1/projections/{name}/rollback",
    summary="Put back what was live before",
    response_class=Response,
    responses={
        200: DOCUMENTS.answer(RolledBack, "It is live again.", {"names": ["loyalty"], "differing": 12}),
        **_UNKNOWN,
        **problems(_409="Nothing was kept of it: it was never rebuilt here."),
    },
)
async def rollback(request: Request, name: str) -> Response:
    """What was live before the last rebuild, its family with it; what is live now is kept in its place."""
    platform, model = platform_of(request), views_of(request).named(name)
    try:
        with platform.trail.of(who_commands(request), "projections rollback", name):
            differing = await platform.projector.roll_back(model)
    except LookupError as error:
        raise ProblemError(409, str(error)) from error
    platform.waiting.tell()
    names = [one.name for one in platform.projector.family(model)]
    return Response(msgspec.json.encode(RolledBack(names, differing)), media_type=JSON)


@router.post(
    "/v1/projections/{name}/rebuild",
    status_code=202,
    summary="Fold a read model anew",
    response_class=Response,
    responses={
        202: DOCUMENTS.answer(Job, "It has begun; `Location` says where to look.", _JOB),
        **_UNKNOWN,
        **_WRONG,
        **problems(_409="It is being done already: `job` says by which."),
    },
)
async def rebuild(request: Request, name: str, sample: Sample = None) -> Response:
    """Beside what readers see, its family with it; then it is proven, and takes their place in one transaction.

    A job that was stopped, or whose process was ended, has changed nothing that readers see: asked for again, it goes
    on from where it stood.
    """
    platform, model = platform_of(request), views_of(request).named(name)
    by = who_commands(request)

    async def work(handle: Handle) -> tuple[State, Any]:
        with platform.trail.of(by, "projections rebuild", name) as course:
            done = await platform.projector.rebuild(
                model,
                handle.stage("folding"),
                proving=handle.stage("proving"),
                sample=sample,
                stop=handle.stop,
            )
            course.outcome = "done" if done.swapped else "interrupted"
        platform.waiting.tell()
        return ("done" if done.swapped else "stopped"), done

    return _begun(request, "rebuild", [one.name for one in platform.projector.family(model)], by, work)


@router.post(
    "/v1/projections/{name}/verify",
    status_code=202,
    summary="Prove a read model",
    response_class=Response,
    responses={
        202: DOCUMENTS.answer(Job, "It has begun; `Location` says where to look.", _JOB | {"kind": "verify"}),
        **_UNKNOWN,
        **_WRONG,
        **problems(_409="It is being done already, or the view is here in another version than this engage folds."),
    },
)
async def verify(request: Request, name: str, sample: Sample = None) -> Response:
    """Folds the log in memory and compares it with the rows. `result` is null where they are the same, or the first
    difference: `key`, `column` (null for a whole row), `stored`, `folded`."""
    platform, model = platform_of(request), views_of(request).named(name)
    by = who_commands(request)
    await asyncio.to_thread(_see_ours, platform, model)

    async def work(handle: Handle) -> tuple[State, Any]:
        proving = platform.projector.verify(model, sample=sample, progress=handle.stage("proving"))
        return await until_stopped(proving, handle.stop)

    return _begun(request, "verify", [name], by, work)


@router.get(
    "/v1/jobs",
    summary="Long work",
    response_class=Response,
    responses={200: DOCUMENTS.answer(JobList, "The jobs of this process.", {"jobs": [_JOB]})},
)
async def jobs(request: Request) -> Response:
    """What runs, and the last hundred that have ended; a job is forgotten with its process."""
    return Response(msgspec.json.encode(JobList(jobs_of(request).all())), media_type=JSON)


@router.get(
    "/v1/jobs/{job}",
    summary="How far a job is",
    response_class=Response,
    responses={200: DOCUMENTS.answer(Job, "The job.", _JOB), **problems(_404="No such job.")},
)
async def job(request: Request, job: str) -> Response:
    """Its stage, how far it is and at which rate, and what came of it."""
    return _told(jobs_of(request).get(job), job)


@router.post(
    "/v1/jobs/{job}/stop",
    summary="Stop a job",
    response_class=Response,
    responses={200: DOCUMENTS.answer(Job, "It is about to end.", _JOB), **problems(_404="No such job.")},
)
async def stop(request: Request, job: str) -> Response:
    """Ask it to end where that does no harm; one that has ended stays as it is."""
    found = jobs_of(request).stop(job)
    if found is not None:
        thing = f"{found.kind} {' '.join(found.things)}"
        await asyncio.to_thread(platform_of(request).trail.keep, who_commands(request), "jobs stop", thing, "done")
    return _told(found, job)


def _begun(request: Request, kind: str, things: list[str], by: str, work: Any) -> Response:
    try:
        begun = jobs_of(request).start(kind, things, by, work)
    except JobRunningError as error:
        raise ProblemError(409, str(error), {"location": f"/v1/jobs/{error.job.id}"}, job=error.job.id) from error
    return Response(msgspec.json.encode(begun), 202, {"location": f"/v1/jobs/{begun.id}"}, JSON)


def _told(found: Job | None, name: str) -> Response:
    if found is None:
        raise ProblemError(
            404, f"there is no job {unquote(name)!r}: it was of another process, or is forgotten; see /v1/jobs"
        )
    return Response(msgspec.json.encode(found), media_type=JSON)


def _see_ours(platform: Platform, model: ReadModel[Any]) -> None:
    stored = platform.store.standing().models.get(model.name)
    if stored is None or not is_of(stored, platform.store.table(model)):
        raise ProblemError(409, f"{model.name} is not here yet in the version of this engage: see /v1/projections")
