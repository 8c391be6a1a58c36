"""What a browser is shown: what can be asked for, on one page made from the OpenAPI document, without scripts."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from engage.http.documents import JSON

router = APIRouter(include_in_schema=False)

_INDEX = {
    "docs": "/docs",
    "openapi": "/openapi.json",
    "asyncapi": "/v1/asyncapi.json",
    "schemas": "/v1/schemas",
    "follow_ups": "/v1/follow-ups",
    "status": "/v1/status",
    "alive": "/livez",
    "ready": "/readyz",
    "metrics": "/metrics",
}
_STYLE = """body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h2{margin-top:2.5rem;border-bottom:1px solid #ccc}h3{margin-bottom:.2rem;font-family:monospace}
pre{background:#f4f4f4;padding:.7rem;overflow-x:auto}table{border-collapse:collapse}
td,th{text-align:left;padding:.2rem 1rem .2rem 0;vertical-align:top}summary{cursor:pointer}"""
# The page brings its own style and nothing else: whatever an example may hold, no browser runs it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


@router.get("/")
def index() -> Response:
    """Where to go from here."""
    return Response(
        msgspec.json.encode({"engage": "what happens with customers and partners", **_INDEX}), media_type=JSON
    )


@router.get("/docs")
def docs(request: Request) -> Response:
    """Everything that may be asked, with examples."""
    page = "".join(_page(request.app.openapi()))
    return Response(page, media_type="text/html", headers={"content-security-policy": _POLICY})


def _page(document: dict[str, Any]) -> Iterator[str]:
    title = escape(document["info"]["title"])
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}: HTTP</title><style>{_STYLE}</style>'
    yield f"<h1>{title}</h1><p>{escape(document['info']['description'])}</p>"
    yield '<p>The same for programs: <a href="/openapi.json">/openapi.json</a></p>'
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2><p>{escape(tag['description'])}</p>"
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if tag["name"] in operation["tags"]:
                    yield from _operation(path, method, operation)


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"<h3>{method.upper()} {escape(path)}</h3><p><b>{escape(operation['summary'])}</b> "
    yield f"{escape(operation.get('description', ''))}</p>"
    if parameters := operation.get("parameters"):
        yield "<table>"
        for one in parameters:
            said = one.get("description", "")
            yield f"<tr><td><code>{escape(one['name'])}</code><td>{escape(one['in'])}<td>{escape(said)}"
        yield "</table>"
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        yield _example(f"Send {media}", content["example"])
    yield "<table>"
    for status, response in operation["responses"].items():
        yield f"<tr><td><code>{escape(status)}</code><td>{escape(response['description'])}"
    yield "</table>"
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            for media, content in response.get("content", {}).items():
                yield _example(f"Get {media}", content["example"])


def _example(title: str, example: Any) -> str:
    text = msgspec.json.format(msgspec.json.encode(example), indent=2).decode()
    return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"
