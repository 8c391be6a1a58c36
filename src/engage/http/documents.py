"""The OpenAPI document's schemas and examples, from the same Structs that are encoded and decoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import RouteContext, iter_route_contexts

from engage.events.envelope import JSON as JSON
from engage.http.problems import MEDIA_TYPE

_TEMPLATE = "#/components/schemas/{name}"
_PROBLEM = {
    "type": "object",
    "description": "Problem details, RFC 9457.",
    "required": ["title", "status", "detail"],
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What happened, to which thing, and what to do."},
        "faults": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "message"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer, RFC 6901."},
                    "message": {"type": "string"},
                },
            },
        },
    },
    "examples": [
        {
            "title": "Unprocessable Entity",
            "status": 422,
            "detail": "the event is refused: /data/total: is missing",
            "faults": [{"pointer": "/data/total", "message": "is missing"}],
        }
    ],
}
_SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "An API key, or a token of the OpenID provider."},
    "writeKey": {
        "type": "http",
        "scheme": "basic",
        "description": "An API key as the user name, with any password, as Segment's libraries send it.",
    },
}


class Documents:
    """Collects the Structs that routes speak of, so that each is described once."""

    def __init__(self) -> None:
        self._kinds: dict[str, Any] = {}

    def answer(self, kind: Any, description: str, example: Any, media: str = JSON) -> dict[str, Any]:
        """What OpenAPI says of an answer whose body is a ``kind``."""
        return {"description": description, "content": {media: {"schema": self.schema(kind), "example": example}}}

    def body(self, kind: Any, example: Any, *, required: bool = True) -> dict[str, Any]:
        """What OpenAPI says of a request whose body is a ``kind``, if there must be one."""
        content = {JSON: {"schema": self.schema(kind), "example": example}}
        return {"requestBody": {"required": required, "content": content}}

    def schema(self, kind: Any) -> dict[str, Any]:
        """A reference to the schema of a Struct."""
        self._kinds[kind.__name__] = kind
        return {"$ref": _TEMPLATE.format(name=kind.__name__)}

    def describe(self, app: FastAPI, scope_of: Callable[[RouteContext], str | None]) -> dict[str, Any]:
        """The whole document of ``app``; ``scope_of`` says what who asks a route must be allowed to do, if anything."""
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            _, components = msgspec.json.schema_components(self._kinds.values(), ref_template=_TEMPLATE)
            document["components"] = {
                "schemas": {**components, "Problem": _PROBLEM},
                "securitySchemes": _SCHEMES,
            }
            for path in document["paths"].values():
                for operation in path.values():
                    # What FastAPI announces by itself of a wrong parameter has another form than we answer.
                    if JSON in operation["responses"].get("422", {}).get("content", {}):
                        wrong = problems(_422="A parameter is wrong: `faults` says which.")
                        operation["responses"]["422"] = wrong[422]
            for route in iter_route_contexts(app.routes):
                for method in route.methods or ():
                    operation = document["paths"].get(route.path_format, {}).get(method.lower())
                    if operation is not None:
                        _give_back_examples(route, operation)
                        scope = scope_of(route)
                        # Nothing at all is enough on loopback until there is a key.
                        operation["security"] = [] if scope is None else [{"key": [scope]}, {"writeKey": [scope]}, {}]
            app.openapi_schema = document
        return app.openapi_schema


def _give_back_examples(route: RouteContext, operation: dict[str, Any]) -> None:
    """FastAPI leaves every null out, also those of examples, which then fit their schemas no more."""
    for status, answer in route.responses.items():
        for media, content in answer.get("content", {}).items():
            if "example" in content:
                operation["responses"][str(status)]["content"][media]["example"] = content["example"]


DOCUMENTS = Documents()


def parameter(name: str, description: str, schema: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """What OpenAPI says of a query parameter that a route reads by itself."""
    told = {"name": name, "in": "query", "required": False, "description": description}
    return {**told, "schema": schema or {"type": "string"}, **more}


def body_problems(_422: str = "The body does not fit.", **said: str) -> dict[int | str, dict[str, Any]]:
    """``problems`` of a route that takes a JSON body, by ``read_struct``, and ``said`` of its own."""
    own = problems(
        _400="The body is not JSON.",
        _408="The body took too long.",
        _413="The body is too long.",
        _415="Another media type.",
        _422=_422,
        **said,
    )
    return dict(sorted(own.items()))


def problems(**said: str) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of a route's problems: ``_404="no such account"``."""
    reference = {"$ref": _TEMPLATE.format(name="Problem")}
    return {
        int(status.removeprefix("_")): {"description": words, "content": {MEDIA_TYPE: {"schema": reference}}}
        for status, words in said.items()
    }
