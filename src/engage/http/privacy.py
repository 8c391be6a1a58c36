"""A person's rights over HTTP: a copy of everything held on an account, and its erasure."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from engage.http.audited import who_commands
from engage.http.documents import DOCUMENTS, JSON, problems
from engage.http.guard import guarded
from engage.http.paths import decoded
from engage.http.problems import ProblemError
from engage.services.known_accounts import NoSuchAccountError
from engage.services.platform import Platform
from engage.services.privacy import Erased, ErasureError, LinkedError, PersonalCopy, erase, held_on

router = APIRouter(tags=["operate"], **guarded("operate"))

_HELD = {
    "account": "customer-17",
    "as_of": "2026-03-01T10:00:00Z",
    "erased": False,
    "events": [{"type": "Account Identified", "subject": "customer-17", "data": {"name": "Ada Lovelace"}}],
    "read_models": {"account_health": [{"account": "customer-17", "score": 64.2}]},
}
_ERASED = {"account": "customer-17", "generation": 1, "gone_by": None}
_UNKNOWN = problems(_404="The log has nothing of this account.")


@router.get(
    "/v1/privacy/{account:path}",
    summary="Everything held on an account",
    response_class=Response,
    responses={200: DOCUMENTS.answer(PersonalCopy, "The copy, with what is sealed in plain words.", _HELD), **_UNKNOWN},
)
async def copy(request: Request, account: str) -> Response:
    """A person's right to a copy: every event of the account, and its row in every read model."""
    platform: Platform = request.app.state.platform
    models = platform.projector.projections
    try:
        held = await held_on(
            platform.log, platform.keyring, models, decoded(account, "account"), platform.clock(), platform.store
        )
    except NoSuchAccountError as error:
        raise ProblemError(404, str(error)) from None
    # Whoever sees all that is personal leaves a trace, although nothing is changed.
    await run_in_threadpool(platform.trail.keep, who_commands(request), "access", held.account, "done")
    return Response(msgspec.json.encode(held), media_type=JSON)


@router.delete(
    "/v1/privacy/{account:path}",
    summary="Erase an account",
    response_class=Response,
    responses={
        200: DOCUMENTS.answer(Erased, "Its keys are gone.", _ERASED),
        **_UNKNOWN,
        **problems(_409="It is linked to another account, with which it is erased."),
        **problems(_503="It is not known yet whether it was carried out; do the same again."),
    },
)
async def forget(request: Request, account: str) -> Response:
    """Destroy the account's keys: what was sealed with them can be read by nobody, in no backup and no export.

    The log stays, and what is published of the account afterwards is sealed with a new key.
    """
    platform: Platform = request.app.state.platform
    try:
        done = await erase(platform, decoded(account, "account"), who_commands(request))
    except NoSuchAccountError as error:
        raise ProblemError(404, str(error)) from None
    except LinkedError as error:
        raise ProblemError(409, str(error)) from None
    except ErasureError as error:
        raise ProblemError(503, str(error)) from None
    return Response(msgspec.json.encode(done), media_type=JSON)
