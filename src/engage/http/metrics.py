"""``/metrics``: what this process counted and how things stand, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from engage.http.guard import guarded
from engage.services import gauges, metrics
from engage.services.platform import Platform

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_EXAMPLE = """# TYPE engage_view_lag_records gauge
engage_view_lag_records{view="timeline"} 0.0
"""

router = APIRouter(tags=["operate"], **guarded("operate"))


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus' text format.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        },
    },
)
async def figures(request: Request) -> Response:
    """Rates, waiting times, lag, what is parked, open or due; docs/operations.md explains each."""
    platform: Platform = request.app.state.platform
    standing = await gauges.standing(platform, request.app.state.home)
    return Response(metrics.text(standing), media_type=MEDIA_TYPE)
