"""The HTTP application: the resources put together around one platform, and the work that goes on behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from engage.http import (
    accounts,
    changes,
    dead_letters,
    events,
    follow_ups,
    guard,
    identities,
    inbound,
    metrics,
    pages,
    privacy,
    problems,
    projections,
    rules,
    schemas,
    segment,
    status,
    views,
    webhooks,
)
from engage.http import links as signed_links
from engage.http.direct import Again, Application, Direct
from engage.http.documents import DOCUMENTS
from engage.http.ending import Ending
from engage.http.pressure import Pressure
from engage.http.remembered import Remembered, Remembering
from engage.http.shell import Shell
from engage.http.short_way import ShortWay
from engage.http.watched import Watched
from engage.log.topics import Topics
from engage.services.hooks.mapping import Hook
from engage.services.jobs import Jobs
from engage.services.links import Links
from engage.services.platform import Platform
from engage.services.reading import Reading
from engage.services.views import Views

_ABOUT = """Publish what happens with customers and partners; read how each relationship is doing and why; work on the
follow-ups. Every failure is told as problem details (RFC 9457)."""
_TAGS = [
    {"name": "publish", "description": "For upstream systems."},
    {"name": "accounts", "description": "For downstream services and relationship managers."},
    {"name": "follow-ups", "description": "For relationship managers."},
    {"name": "views", "description": "Every read model, for downstream services and tables of people's own."},
    {"name": "documents", "description": "For programs that make publishers and readers from them."},
    {"name": "operate", "description": "For operators."},
]

_RESOURCES = (
    events,
    segment,
    rules,
    accounts,
    follow_ups,
    views,
    changes,
    webhooks,
    inbound,
    schemas,
    privacy,
    identities,
    projections,
    dead_letters,
    status,
    metrics,
    pages,
)

_SHOWN = ("etag", "link", "location", "retry-after", "www-authenticate", "x-request-id")
"""The headers of an answer that pages from elsewhere may see."""

_log = structlog.get_logger(__name__)


def create_app(
    platform: Platform,
    *,
    home: Path | None = None,
    works: bool = True,
    local_only: bool = False,
    access: bool = False,
    topics: Topics | None = None,
    hooks: Mapping[str, Hook] | None = None,
    links: Links | None = None,
    origins: Sequence[str] = (),
    segment_links: bool = True,
) -> FastAPI:
    """The application over ``platform``, which stays open as long as it serves.

    ``works``: it also keeps rules, desk, relay and read models going, as long as it lives; False where workers do.
    ``home`` is the folder whose files the status counts, the owned one if there is none. ``local_only`` refuses
    whoever does not ask for this machine's loopback by name. ``access`` logs a line for each request;
    ``topics`` are those that the AsyncAPI document names; ``hooks`` the inbound webhooks by name;
    ``links`` makes and reads those in mails, which are not served without. Pages of ``origins`` may ask from a browser,
    others may not. ``segment_links``: who is identified by Segment's messages is linked to who they were before.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        stop = asyncio.Event()
        if works:
            app.state.work = asyncio.create_task(platform.run(stop), name="engage")
            app.state.work.add_done_callback(_report)
        async with platform.waiting.listening():
            yield
        platform.waiting.close()
        await app.state.jobs.close()
        stop.set()
        if app.state.work is not None:
            await asyncio.wait([app.state.work])

    app = Application(
        title="engage",
        version="1",
        description=_ABOUT,
        openapi_tags=_TAGS,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.platform = platform
    app.state.access = platform.access
    app.state.origins = frozenset(origins)
    app.state.reading = Reading(platform.store, platform.clock)
    app.state.jobs = Jobs(platform.clock)
    app.state.views = Views(platform.store, platform.projector.projections)
    app.state.home = home or (platform.owner.home if platform.owner else Path())
    app.state.work = None
    app.state.topics = topics or Topics()
    app.state.hooks = hooks or {}
    app.state.links = links
    app.state.segment_links = segment_links
    app.state.pressure = Pressure()
    app.state.ending = Ending()
    problems.install(app)
    for resource in _RESOURCES:
        app.include_router(resource.router)
    if links is not None:
        app.include_router(signed_links.router)
    remembered = Remembered(views=platform.store.database, clock=platform.clock)
    app.add_middleware(Remembering, remembered=remembered)
    crossing: dict[str, Any] = {
        "allow_origins": origins,
        "allow_methods": ["GET", "POST", "PUT", "DELETE"],
        "allow_headers": ["*"],
        "expose_headers": _SHOWN,
    }
    if origins:
        app.add_middleware(CORSMiddleware, **crossing)
    app.add_middleware(Shell, local_only=local_only, ending=app.state.ending)
    app.add_middleware(Watched, access=access)
    routes = {"/v1/events": events.publish, **segment.ROUTES}
    shell = Shell(app, local_only=local_only, ending=app.state.ending)
    watched = Watched(app, access=access)
    members = dict.fromkeys(segment.ROUTES, segment.members)
    app.direct = Direct(routes, members, shell=shell, watched=watched, alone=not origins)
    app.direct_paths = frozenset(routes)
    if origins:
        app.direct = CORSMiddleware(app.direct, **crossing)
    else:  # else it would pass by what says which pages may see an answer
        app.again = Again(remembered, shell=shell, watched=watched)
        app.short_way = ShortWay(app, shell=shell, watched=watched)
    app.openapi = lambda: DOCUMENTS.describe(app, guard.scope_of)  # type: ignore[method-assign]
    return app


def _report(work: asyncio.Task[None]) -> None:
    if not work.cancelled() and (error := work.exception()) is not None:
        _log.error(
            "the work behind the service has stopped: it is not ready any more; start it again when this is mended",
            error=f"{type(error).__name__}: {error}",
            exc_info=error,
        )
