"""Outgoing webhooks over HTTP: who is told what, whether it arrives, and what operators do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated, TypeVar

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from msgspec import Meta, Struct

from engage.events.validation import Fault
from engage.http.audited import concerns
from engage.http.body import media_type, read_struct
from engage.http.documents import DOCUMENTS, JSON, body_problems, problems
from engage.http.guard import guarded
from engage.http.problems import ProblemError, faulty
from engage.services.platform import Platform
from engage.services.webhooks.destination import EndpointError
from engage.services.webhooks.managing import (
    Delivered,
    NewEndpoint,
    Tested,
    Webhook,
    WebhookNotFoundError,
    Webhooks,
)

S = TypeVar("S", bound=Struct)

router = APIRouter(tags=["operate"], **guarded("operate"))


class Endpoints(Struct):
    """Every endpoint, the oldest first."""

    webhooks: list[Webhook]


class Deliveries(Struct):
    """What was and is to be sent to an endpoint, the latest first."""

    deliveries: list[Delivered]


class Enable(Struct, frozen=True, forbid_unknown_fields=True):
    """From where it stood, or what comes from now on and what was queued."""

    from_now: bool = False


class Rotate(Struct, frozen=True, forbid_unknown_fields=True):
    """For how many hours what is sent carries a signature by the old secret too."""

    keep_hours: Annotated[float, Meta(ge=0, le=24 * 90)] = 24.0


_ID = "we_5d0a9f0e3b1f6a2f"
_NEW = {"url": "https://mailer.example/engage", "on": ["follow_up.requested"], "channels": ["email"]}
_WEBHOOK = {
    "id": _ID,
    "url": "https://mailer.example/engage",
    "on": ["follow_up.requested"],
    "channels": ["email"],
    "rules": [],
    "purposes": [],
    "kinds": [],
    "in_clear": [],
    "created": "2026-03-01T10:00:00Z",
    "disabled": None,
    "failing_since": None,
    "last_answer": "HTTP 204",
    "waiting": 0,
    "secret": None,
}
_DELIVERED = {
    "message": "msg_0b8c3f5e-7b1f-5c0e-8a55-6f0c8a0f6f11",
    "type": "follow_up.requested",
    "account": "customer-17",
    "state": "delivered",
    "attempts": 1,
    "answer": "HTTP 204",
    "queued_at": "2026-03-01T10:00:00Z",
    "next_at": None,
    "ended_at": "2026-03-01T10:00:01Z",
}
_UNKNOWN = problems(_404="No such webhook.")
_PATH = "/v1/webhooks/{webhook}"


@router.get(
    "/v1/webhooks",
    summary="Who is told what",
    response_class=Response,
    responses={200: DOCUMENTS.answer(Endpoints, "The endpoints.", {"webhooks": [_WEBHOOK]})},
)
def endpoints(request: Request) -> Response:
    """Every endpoint, what it is told, and whether that arrives. No secret is shown."""
    return _json(Endpoints(_webhooks(request).all()))


@router.post(
    "/v1/webhooks",
    summary="Tell another endpoint",
    status_code=201,
    openapi_extra=DOCUMENTS.body(NewEndpoint, _NEW),
    response_class=Response,
    responses={
        201: DOCUMENTS.answer(
            Webhook, "It is told from now on; `secret` is shown this once. `Location` is its own.", _WEBHOOK
        ),
        **body_problems(),
    },
)
async def add(request: Request) -> Response:
    """Messages are sent as Standard Webhooks has it: signed, and again for three days until they are taken."""
    new = await read_struct(request, NewEndpoint)
    try:
        made = await _webhooks(request).add(new)
    except EndpointError as error:
        raise faulty(str(error), [Fault(f"/{error.field}", str(error))]) from error
    concerns(request, made.id)
    return _json(made, 201, {"location": f"/v1/webhooks/{made.id}"})


@router.get(
    _PATH,
    summary="One endpoint",
    response_class=Response,
    responses={200: DOCUMENTS.answer(Webhook, "The endpoint.", _WEBHOOK), **_UNKNOWN},
)
def endpoint(request: Request, webhook: str) -> Response:
    """What it is told, and whether that arrives."""
    with _known():
        return _json(_webhooks(request).one(webhook))


@router.delete(
    _PATH,
    summary="Tell an endpoint nothing more",
    status_code=204,
    response_class=Response,
    responses={204: {"description": "It is gone, with all that waited for it."}, **_UNKNOWN},
)
def remove(request: Request, webhook: str) -> Response:
    """What waits for it is not sent either."""
    with _known():
        _webhooks(request).remove(webhook)
    return Response(status_code=204)


@router.get(
    _PATH + "/deliveries",
    summary="What was sent to an endpoint",
    response_class=Response,
    responses={
        200: DOCUMENTS.answer(Deliveries, "The latest first.", {"deliveries": [_DELIVERED]}),
        **_UNKNOWN,
        **problems(_422="A parameter is wrong."),
    },
)
def deliveries(request: Request, webhook: str, limit: Annotated[int, Query(ge=1, le=1_000)] = 50) -> Response:
    """What waits, what arrived, and what did not and why; what ended is known for a week."""
    with _known():
        return _json(Deliveries(_webhooks(request).deliveries(webhook, limit)))


@router.post(
    _PATH + "/disable",
    summary="Send nothing to an endpoint",
    response_class=Response,
    responses={200: DOCUMENTS.answer(Webhook, "The endpoint.", _WEBHOOK), **_UNKNOWN},
)
def disable(request: Request, webhook: str) -> Response:
    """Nothing is lost: what it is to hear waits on the log."""
    with _known():
        return _json(_webhooks(request).disable(webhook))


@router.post(
    _PATH + "/enable",
    summary="Send to an endpoint again",
    openapi_extra=DOCUMENTS.body(Enable, {"from_now": False}, required=False),
    response_class=Response,
    responses={200: DOCUMENTS.answer(Webhook, "The endpoint.", _WEBHOOK), **_UNKNOWN, **body_problems()},
)
async def enable(request: Request, webhook: str) -> Response:
    """What failed or waits is sent at once."""
    asked = await _optional(request, Enable)
    with _known():
        return _json(await _webhooks(request).enable(webhook, from_now=asked.from_now))


@router.post(
    _PATH + "/rotate",
    summary="A new secret for an endpoint",
    openapi_extra=DOCUMENTS.body(Rotate, {"keep_hours": 24}, required=False),
    response_class=Response,
    responses={
        200: DOCUMENTS.answer(Webhook, "The endpoint; `secret` is shown this once.", _WEBHOOK),
        **_UNKNOWN,
        **body_problems(),
    },
)
async def rotate(request: Request, webhook: str) -> Response:
    """For a while messages carry two signatures, so that the receiver can change over when it likes."""
    asked = await _optional(request, Rotate)
    with _known():
        keep = timedelta(hours=asked.keep_hours)
        return _json(await run_in_threadpool(_webhooks(request).rotate, webhook, keep))


@router.post(
    _PATH + "/test",
    summary="Send an endpoint a test message",
    response_class=Response,
    responses={
        200: DOCUMENTS.answer(Tested, "What came of it.", {"taken": True, "status": 204, "words": "HTTP 204"}),
        **_UNKNOWN,
    },
)
async def test(request: Request, webhook: str) -> Response:
    """A signed message of type `webhook.test`, now, also to an endpoint that is disabled."""
    with _known():
        return _json(await _webhooks(request).test(webhook))


@contextmanager
def _known() -> Iterator[None]:
    """404 for an endpoint that is not there."""
    try:
        yield
    except WebhookNotFoundError as error:
        raise ProblemError(404, str(error)) from error


async def _optional(request: Request, kind: type[S]) -> S:
    """The body, or what it says when it is left out."""
    if not media_type(request) and request.headers.get("content-length", "0") == "0":
        return kind()
    return await read_struct(request, kind)


def _json(value: Struct, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, JSON)


def _webhooks(request: Request) -> Webhooks:
    platform: Platform = request.app.state.platform
    return platform.webhooks
