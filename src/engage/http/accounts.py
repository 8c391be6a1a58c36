"""One account: how it is doing and why, and its story."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from engage.events.catalogue import CATALOGUE
from engage.events.validation import Fault
from engage.http.as_of import AsOf, of_account
from engage.http.documents import DOCUMENTS, JSON, problems
from engage.http.guard import guarded
from engage.http.parameters import Moment
from engage.http.paths import decoded
from engage.http.problems import ProblemError, faulty
from engage.http.waited import BEHIND, waited, waited_for_account
from engage.near_names import meant
from engage.services.explaining import Explained, explained
from engage.services.reading import WHOLE, Account, Reading, TimelinePage
from engage.views.asking import Condition
from engage.views.projection import ReadModel
from projections.shared.timeline import timeline as timeline_model

T = TypeVar("T")
Text = Annotated[str, Field(pattern=r"^[^\x00]*$", max_length=256)]
Types = Annotated[list[Text] | None, Query(alias="type", max_length=50, description="Only events of this type.")]
Families = Annotated[list[Text] | None, Query(alias="family", max_length=50, description="Only types of this family.")]

router = APIRouter(tags=["accounts"], **guarded("read"))

_FAMILIES = sorted({kind.family for kind in CATALOGUE.values()})
_MOVED = {"event_id": "order-1001", "time": "2026-03-01T10:00:00Z", "type": "Order Completed", "contribution": 21.4}
_COMPONENT = {
    "component": "purchasing",
    "value": 64.2,
    "weight": 1.0,
    "words": "How much they buy: fair, 64 of 100",
    "events": [_MOVED],
}
_ACCOUNT = {
    "account": "customer-17",
    "kind": "customer",
    "health": {
        "as_of": "2026-03-02T08:00:00Z",
        "score": 64.2,
        "band": "steady",
        "band_since": "2026-02-11T10:00:00Z",
        "mover": "purchasing",
        "trend": 6.3,
        "confidence": 0.42,
        "components": [_COMPONENT],
        "unknown": ["support"],
    },
    "follow_ups": [],
    "rows": {
        "profile": {"kind": "customer", "country": "DE", "manager": "ada", "interactions": 12},
        "engagement": [{"channel": "newsletters", "reached": 10, "responded": 4, "rate": 0.37}],
        "loyalty": {"tier": "silver", "balance": 420, "rfm": "433"},
        "agreements": [],
    },
    "not_yet": [],
}
_EXPLAINED = {
    "account": "customer-17",
    "as_of": "2026-03-02T08:00:00Z",
    "score": 64.2,
    "band": "steady",
    "words": "health 64 of 100, steady, with 42% confidence; 6 points up in four weeks; steady since 2026-02-11 10:00, "
    "through purchasing",
    "components": [
        {
            "component": "purchasing",
            "value": 64.2,
            "share": 1.0,
            "points": 64.2,
            "words": "How much they buy: fair, 64 of 100",
            "events": [_MOVED | {"points": 21.4, "entry": "3:17", "summary": "Order order-1001 completed: 59.90 EUR"}],
        }
    ],
    "unknown": ["support"],
}
_ENTRY = {
    "entry": "3:17",
    "account": "customer-17",
    "partition": 3,
    "offset": 17,
    "time": "2026-03-01T10:00:00Z",
    "recorded": "2026-03-01T10:00:01Z",
    "type": "Order Completed",
    "family": "commerce",
    "source": "urn:shop",
    "event_id": "order-1001",
    "summary": "Order order-1001 completed: 59.90 EUR",
}
_UNKNOWN = problems(
    _404="The log has nothing of this account, or had not by then.",
    _503="The read models are not there yet, or so many ask for the past that it would take too long.",
    _504=BEHIND,
)


@router.get(
    "/v1/accounts/{account:path}/timeline",
    summary="The account's story",
    dependencies=[Depends(waited)],
    response_class=Response,
    responses={
        200: DOCUMENTS.answer(
            TimelinePage,
            "Newest first; `next` is where to read on.",
            {"account": "customer-17", "entries": [_ENTRY], "next": "3:17"},
        ),
        **_UNKNOWN,
        **problems(_422="A parameter is wrong."),
    },
)
async def timeline(
    request: Request,
    account: str,
    as_of: AsOf = None,
    limit: Annotated[int, Query(ge=1, le=1_000, description="How many entries.")] = 50,
    before: Annotated[
        str | None, Query(pattern=r"^\d{1,6}:\d{1,15}$", description="The `next` of the page before.")
    ] = None,
    types: Types = None,
    families: Families = None,
    since: Annotated[Moment | None, Query(description="Only what happened then or later.")] = None,
    until: Annotated[Moment | None, Query(description="Only what happened before.")] = None,
) -> Response:
    """What happened with the account, newest first, in the order in which the log learned of it.

    `type` and `family` may be given again, for more of them; both must hold.
    """
    name = account_id(account)
    for strange in (one for one in families or () if one not in _FAMILIES):
        words = f"no type is of the family {strange!r}: {meant(strange, _FAMILIES)}"
        raise faulty(f"family: {words}", [Fault("/query/family", words)])
    only = [Condition(column, "in", tuple(said)) for column, said in (("type", types), ("family", families)) if said]
    only += [Condition("time", "ge", since)] if since is not None else []
    only += [Condition("time", "lt", until)] if until is not None else []

    def ask(reading: Reading) -> TimelinePage | None:
        return reading.timeline(name, limit=limit, before=before, only=only)

    page = await _asked(request, name, as_of, (timeline_model,), ask)
    if page is None:
        raise _unknown(name, as_of)
    return Response(msgspec.json.encode(page), media_type=JSON)


@router.get(
    "/v1/accounts/{account:path}/explain",
    summary="Why its health is what it is",
    dependencies=[Depends(waited_for_account)],
    response_class=Response,
    responses={200: DOCUMENTS.answer(Explained, "The health with its reasons.", _EXPLAINED), **_UNKNOWN},
)
async def explain(request: Request, account: str, as_of: AsOf = None) -> Response:
    """The score as the points of its components, each with the events that moved it most, in words."""
    name = account_id(account)

    def ask(reading: Reading) -> Explained | None:
        found = reading.account(name)
        return None if found is None else explained(reading.store, found)

    told = await _asked(request, name, as_of, WHOLE, ask)
    if told is None:
        raise _unknown(name, as_of)
    return Response(msgspec.json.encode(told), media_type=JSON)


@router.get(
    "/v1/accounts/{account:path}",
    summary="One account",
    dependencies=[Depends(waited_for_account)],
    response_class=Response,
    responses={200: DOCUMENTS.answer(Account, "The account.", _ACCOUNT), **_UNKNOWN},
)
async def account(request: Request, account: str, as_of: AsOf = None) -> Response:
    """How the account is doing, now or `as_of`, which events made it so, what is open with it, what is known of it.

    Percent-encode a slash in an id (`a%2Fb`).
    """
    name = account_id(account)
    found = await _asked(request, name, as_of, WHOLE, lambda reading: reading.account(name))
    if found is None:
        raise _unknown(name, as_of)
    return Response(msgspec.json.encode(found), media_type=JSON)


def account_id(raw: str) -> str:
    """The id in a path that was left percent-encoded; 404 for what can be no id."""
    name = decoded(raw, "account")
    if any(letter < " " for letter in name):
        raise ProblemError(404, "no account has such an id: it holds a control character")
    return name


async def _asked(
    request: Request,
    account: str,
    moment: datetime | None,
    models: Sequence[ReadModel[Any]],
    ask: Callable[[Reading], T],
) -> T:
    """What ``ask`` finds in the read models as they are, or as the account had made ``models`` by then."""
    if moment is None:
        return await run_in_threadpool(ask, request.app.state.reading)
    return await of_account(request, account, models, moment, lambda store: ask(Reading(store, lambda: moment)))


def _unknown(name: str, moment: datetime | None) -> ProblemError:
    then = "" if moment is None else f" as of {moment.isoformat()}"
    return ProblemError(
        404, f"there is no account {name!r}{then}: check the id; an account begins with its first event"
    )
