"""What events look like, for programs: JSON Schemas of every type, and the AsyncAPI document of the topics."""

from __future__ import annotations

import inspect
from functools import cache
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import Struct

from engage.events.catalogue import CATALOGUE, RESERVED
from engage.events.schemas import schema
from engage.http.accounts import account_id
from engage.http.documents import DOCUMENTS, JSON, problems
from engage.http.guard import guarded
from engage.http.problems import ProblemError
from engage.log.topics import Topics
from engage.services.asyncapi import document
from engage.services.platform import Platform

SCHEMA_JSON = "application/schema+json"
ASYNCAPI_JSON = "application/vnd.aai.asyncapi+json;version=3.0.0"

router = APIRouter(tags=["documents"], **guarded("read"))


class EventSchema(Struct):
    """An event type: its ``version`` is that of its data; ``reserved`` ones only engage says; ``schema`` is where."""

    type: str
    family: str
    version: int
    reserved: bool
    summary: str
    schema: str


class EventSchemas(Struct):
    """Every event type that is checked; others are taken and kept as they are."""

    schemas: list[EventSchema]


_ONE = {
    "type": "Order Completed",
    "family": "commerce",
    "version": 1,
    "reserved": False,
    "summary": "A customer placed an order and paid for it.",
    "schema": "/v1/schemas/Order%20Completed",
}


@router.get(
    "/v1/schemas",
    summary="Every event type",
    response_class=Response,
    responses={200: DOCUMENTS.answer(EventSchemas, "The types.", {"schemas": [_ONE]})},
)
async def schemas() -> Response:
    """The types that are checked to the field, by family."""
    return Response(_all_schemas(), media_type=JSON)


@router.get(
    "/v1/schemas/{type:path}",
    summary="The JSON Schema of an event type",
    response_class=Response,
    responses={
        200: {
            "description": "JSON Schema, draft 2020-12, with examples; `x-personal` marks what is sealed.",
            "content": {
                SCHEMA_JSON: {"schema": {"type": "object"}, "example": {"title": "Order Completed", "type": "object"}}
            },
        },
        **problems(_404="No such type: it is taken as it is."),
    },
)
async def one_schema(type: str) -> Response:  # noqa: A002 - as the path calls it
    """What an event of this type holds; a blank in its name is `%20`."""
    name = account_id(type)
    kind = CATALOGUE.get(name)
    if kind is None:
        raise ProblemError(404, f"there is no schema of {name!r}: /v1/schemas lists them; other types are kept as sent")
    return Response(msgspec.json.encode(schema(kind)), media_type=SCHEMA_JSON)


@router.get(
    "/v1/asyncapi.json",
    summary="The AsyncAPI document",
    response_class=Response,
    responses={
        200: {
            "description": "AsyncAPI 3.0: topics, who writes and reads them, every message.",
            "content": {ASYNCAPI_JSON: {"schema": {"type": "object"}, "example": {"asyncapi": "3.0.0"}}},
        }
    },
)
async def asyncapi(request: Request) -> Response:
    """The topics of the log on Kafka; embedded there are none, and the same events come by `/v1/events`."""
    platform: Platform = request.app.state.platform
    topics: Topics = request.app.state.topics
    described = document(topics, platform.projector.projections, request.app.version)
    return Response(msgspec.json.encode(described), media_type=ASYNCAPI_JSON)


@cache
def _all_schemas() -> bytes:
    found = [
        EventSchema(
            type=kind.name,
            family=kind.family,
            version=kind.version,
            reserved=kind.name in RESERVED,
            summary=(inspect.getdoc(kind.data) or "").partition("\n")[0],
            schema=f"/v1/schemas/{quote(kind.name)}",
        )
        for kind in CATALOGUE.values()
    ]
    return msgspec.json.encode(EventSchemas(found))
