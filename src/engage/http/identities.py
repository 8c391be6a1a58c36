"""Identities over HTTP: a visitor turned out to be an account, or did not after all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import Struct

from engage.events.catalogue.base import Ref
from engage.http.audited import concerns, who_commands
from engage.http.body import read_struct
from engage.http.documents import DOCUMENTS, JSON, body_problems, problems
from engage.http.guard import guarded
from engage.http.paths import decoded
from engage.http.problems import ProblemError
from engage.services.known_accounts import NoSuchAccountError
from engage.services.linking import Linked, LinkingError, NotLinkedError, Unlinked, link, unlink
from engage.services.platform import Platform

router = APIRouter(tags=["operate"], **guarded("operate"))


class Link(Struct, frozen=True, forbid_unknown_fields=True):
    """``visitor`` turned out to be ``account``."""

    visitor: Ref
    account: Ref


_PAIR = {"visitor": "anonymous:7f3c", "account": "customer-17"}
_LINKED = _PAIR | {"holder": "customer-17", "changed": True}
_PENDING = {"pending": "3:4711"}
_ASKED = (
    "It is only asked for, on Kafka: intake or the read models take long. `GET /v1/views/identities/{visitor}` with "
    "`wait_for` the `pending` token says whether it came about, `GET /v1/dead-letters?account={visitor}` why not."
)


@router.post(
    "/v1/identities",
    summary="Link a visitor to an account",
    openapi_extra=DOCUMENTS.body(Link, _PAIR),
    response_class=Response,
    responses={
        200: DOCUMENTS.answer(Linked, "It is linked; `changed` is false where it was already.", _LINKED),
        202: DOCUMENTS.answer(Linked, _ASKED, _LINKED | _PENDING),
        **body_problems(
            _404="The log has nothing of one of them.",
            _409="It is linked to another account, or the two would go in a ring.",
        ),
    },
)
async def linked(request: Request) -> Response:
    """What is known of the visitor goes to the account, and what is published of it later too."""
    asked = await read_struct(request, Link)
    concerns(request, asked.visitor)
    platform: Platform = request.app.state.platform
    with _told():
        return _answer(await link(platform, asked.visitor, asked.account, who_commands(request)))


@router.delete(
    "/v1/identities/{visitor:path}",
    summary="Take back that a visitor is linked",
    response_class=Response,
    responses={
        200: DOCUMENTS.answer(Unlinked, "Both have what is theirs.", _PAIR),
        202: DOCUMENTS.answer(Unlinked, _ASKED, _PAIR | _PENDING),
        **problems(_404="It is linked to no account.", _409="It cannot be taken back."),
    },
)
async def parted(request: Request, visitor: str) -> Response:
    """What is known of the visitor comes back to it, and what is published of it later stays."""
    platform: Platform = request.app.state.platform
    with _told():
        return _answer(await unlink(platform, decoded(visitor, "visitor"), who_commands(request)))


def _answer(done: Linked | Unlinked) -> Response:
    return Response(msgspec.json.encode(done), 202 if done.pending else 200, media_type=JSON)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (NoSuchAccountError, NotLinkedError) as error:
        raise ProblemError(404, str(error)) from None
    except LinkingError as error:
        raise ProblemError(409, str(error)) from None
