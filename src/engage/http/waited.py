"""Reading one's own write over HTTP: ``wait_for`` holds an answer back until the views include what was published."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request

from engage.services.platform import Platform
from engage.services.reading import READ, WHOLE

WaitFor = Annotated[
    str | None,
    Query(
        max_length=32,
        json_schema_extra={"pattern": "^[0-9]+:[0-9]+$"},
        description="A `token` that publishing answered: the answer waits until it is included.",
    ),
]
WaitSeconds = Annotated[float, Query(ge=0, le=60, description="How long to wait at most; then 504 says how far it is.")]

BEHIND = "What was waited for is not there yet: `behind` says how far each view is."


async def waited(request: Request, wait_for: WaitFor = None, wait_seconds: WaitSeconds = 10.0) -> None:
    """Wait as was asked, before anything is read."""
    if wait_for is not None:
        platform: Platform = request.app.state.platform
        await platform.waiting.until(wait_for, READ, wait_seconds)


async def waited_for_account(request: Request, wait_for: WaitFor = None, wait_seconds: WaitSeconds = 10.0) -> None:
    """The same for all that an account is read from."""
    if wait_for is not None:
        platform: Platform = request.app.state.platform
        ours = set(platform.projector.projections)
        await platform.waiting.until(wait_for, [model for model in WHOLE if model in ours], wait_seconds)
