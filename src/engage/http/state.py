"""What the application keeps for its routes, by its type."""

from __future__ import annotations

from fastapi import Request

from engage.services.jobs import Jobs
from engage.services.platform import Platform


def platform_of(request: Request) -> Platform:
    """The platform that serves this request."""
    platform: Platform = request.app.state.platform
    return platform


def jobs_of(request: Request) -> Jobs:
    """The long work that was begun over HTTP."""
    jobs: Jobs = request.app.state.jobs
    return jobs
