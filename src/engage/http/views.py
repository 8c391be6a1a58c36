"""Every read model over HTTP: what there is, pages of rows, one row with its entity tag, whole tables as text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import Any, get_args

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from msgspec import Struct

from engage.events.validation import Fault
from engage.http.as_of import AsOf, of_account, opened
from engage.http.documents import DOCUMENTS, JSON, parameter, problems
from engage.http.guard import guarded
from engage.http.paths import decoded
from engage.http.problems import ProblemError, faulty
from engage.http.spooled import PatientResponse, spooled
from engage.http.waited import WaitFor, WaitSeconds
from engage.services.platform import Platform
from engage.services.view_query import LIMIT, MOST
from engage.services.view_texts import MEDIA_TYPES, TextFormat, written
from engage.services.views import Page, Row, View, Views, tag_of
from engage.store.views import ViewStore
from engage.views.aggregate import Aggregate
from engage.views.projection import ReadModel

router = APIRouter(tags=["views"], **guarded("read"))

OURS = ("as_of", "format", "wait_for", "wait_seconds")
_FORMATS: dict[str, TextFormat | None] = {
    "text/csv": "csv",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    JSON: None,
    "*/*": None,
}
_CACHE = {"cache-control": "private, no-cache"}

Asked = list[tuple[str, str]]
Opened = Callable[[], AbstractContextManager[Views]]


class ViewList(Struct):
    """Every read model there is."""

    views: list[View]


async def waited_for_view(request: Request, wait_for: WaitFor = None, wait_seconds: WaitSeconds = 10.0) -> None:
    """Wait as was asked, for the view in the path alone."""
    if wait_for is not None:
        platform: Platform = request.app.state.platform
        model = views_of(request).named(request.path_params["name"])
        await platform.waiting.until(wait_for, [model], wait_seconds)


def views_of(request: Request) -> Views:
    """The application's read models."""
    found: Views = request.app.state.views
    return found


_COLUMN = {"name": "account", "type": "text", "description": "the account's id"}
_VIEW = {
    "name": "account_health",
    "version": 3,
    "description": "How an account is doing.",
    "key": "account",
    "columns": [_COLUMN, {"name": "score", "type": "number", "nullable": True, "description": "0-100"}],
    "indexed": [["account"], ["band", "score"]],
    "merged": False,
    "appended": False,
}
_ROW = {"account": "customer-17", "score": 38.5, "band": "slipping"}
_ROW_DESCRIBED = {
    "schema": {"type": "object", "description": "A row by its columns, which `GET /v1/views` lists."},
    "example": _ROW,
}
_PAGE = {"view": "account_health", "rows": [_ROW], "next": "WyJuMmtYY2…"}
_TEXTS = {
    "text/csv": {"schema": {"type": "string"}, "example": "account,score,band\r\ncustomer-17,38.5,slipping\r\n"},
    "application/x-ndjson": {"schema": {"type": "string"}, "example": msgspec.json.encode(_ROW).decode() + "\n"},
}
_FIELDS = parameter("fields", "Only these columns, separated by commas.", example="account,score")
_ASKING = [
    parameter(
        "conditions",
        "Each column's name is a parameter: `band=slipping` for equality, and with `__` one of the tests `ne lt le gt "
        "ge in prefix null` behind it: `score__lt=40`, `band__in=slipping,at_risk`, `mover__null=false`. All must "
        "hold. `ne` is true of null, the others are not. A column `as_of` is asked for by `as_of__eq`.",
        {"type": "object", "additionalProperties": {"type": "string"}},
        style="form",
        explode=True,
        example={"band": "slipping", "score__lt": "40"},
    ),
    parameter("sort", "By these columns, `-` for descending; null is last. Else by key.", example="-score,account"),
    _FIELDS,
    parameter(
        "limit",
        f"How many rows a page has: {LIMIT}, or up to {MOST}. A whole table has all, or as many as this says.",
        {"type": "integer", "minimum": 1},
    ),
    parameter("cursor", "The `next` of the page before; leave the conditions and the order as they were."),
    parameter(
        "format", "What the Accept header says otherwise.", {"type": "string", "enum": ["json", "csv", "ndjson"]}
    ),
]
_ANSWERS = problems(
    _404="No such view.",
    _422="The question does not fit the view: `faults` point at the parameters.",
    _503="The view is not there yet, or is being folded anew, or for `as_of`: `done` of `total` records by `job`.",
    _504="What was waited for is not there yet: `behind` says how far the view is.",
)


@router.get(
    "/v1/views",
    summary="What can be asked for",
    response_class=Response,
    responses={200: DOCUMENTS.answer(ViewList, "Every read model.", {"views": [_VIEW]})},
)
async def listed(request: Request) -> Response:
    """Every read model with its columns: their types, whether they may be null, what they say and in which unit."""
    return Response(msgspec.json.encode(ViewList(views_of(request).listed())), media_type=JSON)


@router.get(
    "/v1/views/{name}",
    summary="Rows of a read model",
    dependencies=[Depends(waited_for_view)],
    response_class=Response,
    openapi_extra={"parameters": _ASKING},
    responses={
        200: {
            **(_answer := DOCUMENTS.answer(Page, "A page of rows, or the whole table as text.", _PAGE)),
            "content": {**_answer["content"], **_TEXTS},
        },
        **_ANSWERS,
    },
)
async def rows(request: Request, name: str, as_of: AsOf = None, wait_seconds: WaitSeconds = 10.0) -> Response:
    """A page of rows; as CSV or NDJSON (by `Accept` or `format`) all of them, of one moment.

    What `indexed` of `/v1/views` begins with is quick to ask for; anything else reads the table once. With `as_of` they
    are what the log had made by then: at once with `account=ID`; without, all of the log is folded first, from where it
    was folded to before. If that takes longer than `wait_seconds`, 503 says how far it is: ask the same again.
    """
    views, asked = views_of(request), _asked(request)
    form = _format(request)
    if as_of is None:
        if form is not None:
            views.check(name, asked)
        return await _sent(lambda: nullcontext(views), name, asked, form)
    views.check(name, asked, whole=form is not None)
    model = views.named(name)
    if account := _account_asked_for(model, asked):

        def ask(store: ViewStore) -> bytes:
            return _at_once(Views(store, [model]), name, asked, form)

        told = await of_account(request, account, [model], as_of, ask)
        return Response(told, media_type=MEDIA_TYPES[form] if form else JSON, headers=_headers(name, form))
    return await _sent(await opened(request, model, as_of, wait_seconds), name, asked, form)


@router.get(
    "/v1/views/{name}/{key:path}",
    summary="One row of a read model",
    dependencies=[Depends(waited_for_view)],
    response_class=Response,
    openapi_extra={"parameters": [_FIELDS]},
    responses={
        200: {"description": "The row; its ETag changes whenever it does.", "content": {JSON: _ROW_DESCRIBED}},
        304: {"description": "It is as `If-None-Match` has it."},
        **_ANSWERS,
        **problems(_404="No such view, or no such row."),
    },
)
async def row(request: Request, name: str, key: str, as_of: AsOf = None, wait_seconds: WaitSeconds = 10.0) -> Response:
    """The row of a key. Percent-encode a slash in it (`a%2Fb`)."""
    views = views_of(request)
    wanted = decoded(key, "row")
    fields = request.query_params.get("fields", "")
    if as_of is None:
        found = await run_in_threadpool(views.row, name, wanted, fields)
    else:
        found = await _row_as_of(request, name, wanted, fields, as_of, wait_seconds)
    if found is None:
        then = "" if as_of is None else f" as of {as_of.isoformat()}"
        column = views.shape(name).key
        said = f"{name} has no row {wanted!r}{then}: its key is the column {column!r}, see /v1/views/{name}"
        raise ProblemError(404, said)
    values, tag = found
    headers = {"etag": tag, **_CACHE}
    if _is_known(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    return Response(msgspec.json.encode(values), media_type=JSON, headers=headers)


async def _sent(opening: Opened, name: str, asked: Asked, form: TextFormat | None) -> Response:
    if form is None:

        def page() -> Page:
            with opening() as views:
                return views.page(name, asked)

        told = msgspec.json.encode(await run_in_threadpool(page))
        return Response(told, media_type=JSON, headers=_headers(name, form))

    @contextmanager
    def pieces() -> Iterator[Iterator[bytes]]:
        with opening() as views, views.table(name, asked) as (fields, found):
            yield written(form, fields, found)

    body = spooled(pieces)
    first = await anext(body, b"")  # before anything is said: what fails here is told as a problem
    return PatientResponse(_chained(first, body), media_type=MEDIA_TYPES[form], headers=_headers(name, form))


def _at_once(views: Views, name: str, asked: Asked, form: TextFormat | None) -> bytes:
    if form is None:
        return msgspec.json.encode(views.page(name, asked))
    with views.table(name, asked) as (fields, found):
        return b"".join(written(form, fields, found))


async def _row_as_of(
    request: Request, name: str, key: str, fields: str, moment: datetime, seconds: float
) -> tuple[Row, str] | None:
    """The row as it stood; where its account is known, that account's records are all that makes it."""
    views = views_of(request)
    model, shape = views.named(name), views.shape(name)
    views.check(name, [("fields", fields)] if fields else [])
    account: str | None = key if shape.key == "account" else None
    if account is None and "account" in shape.columns:
        live = await run_in_threadpool(views.row, name, key, "account")
        account = None if live is None else live[0]["account"]

    def read(views: Views) -> tuple[Row, str] | None:
        return views.row(name, key, fields)

    if account is not None and not isinstance(model, Aggregate):
        found = await of_account(request, account, [model], moment, lambda store: read(Views(store, [model])))
    else:
        opening = await opened(request, model, moment, seconds)

        def read_all() -> tuple[Row, str] | None:
            with opening() as then:
                return read(then)

        found = await run_in_threadpool(read_all)
    # What is folded for one answer is numbered for it alone: the tag is of what the row holds.
    return None if found is None else (found[0], tag_of(found[0]))


def _account_asked_for(model: ReadModel[Any], asked: Asked) -> str | None:
    """The account whose rows alone are asked for; None where that is not so."""
    accounts = [value for name, value in asked if name in ("account", "account__eq")]
    alone = len(accounts) == 1 and not isinstance(model, Aggregate) and "account" in model.row.__struct_fields__
    return accounts[0] if alone else None


def _headers(name: str, form: TextFormat | None) -> dict[str, str]:
    if form is None:
        return {"vary": "accept"}
    return {"vary": "accept", "content-disposition": f'attachment; filename="{name}.{form}"'}


def _asked(request: Request) -> Asked:
    return [(name, value) for name, value in request.query_params.multi_items() if name not in OURS]


def _format(request: Request) -> TextFormat | None:
    """CSV or NDJSON, None for JSON: as ``format`` says, else as Accept prefers."""
    said = request.query_params.get("format")
    if said is not None:
        if said == "json":
            return None
        if said in get_args(TextFormat):
            return said  # type: ignore[return-value]  # one of these
        raise faulty("format: json, csv or ndjson", [Fault("/query/format", "json, csv or ndjson")])
    best: tuple[float, TextFormat | None] = (0.0, None)
    for part in request.headers.get("accept", "").split(","):
        media, _, rest = part.strip().partition(";")
        if media.strip().lower() in _FORMATS and (liked := _liking(rest)) > best[0]:
            best = (liked, _FORMATS[media.strip().lower()])
    return best[1]


def _liking(rest: str) -> float:
    for one in rest.split(";"):
        name, _, value = one.strip().partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _is_known(if_none_match: str, tag: str) -> bool:
    known = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return "*" in known or tag in known


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for piece in rest:
        yield piece
