"""Who may come in: every route asks, and says what to bring."""

import httpx
from fastapi import FastAPI

OPEN = {"/livez", "/readyz"}


async def test_every_route_that_is_described_is_guarded_but_for_the_probes(http: httpx.AsyncClient):
    document = (await http.get("/openapi.json")).json()
    unguarded = {
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if not {"401", "403"} <= operation["responses"].keys()
    }
    assert unguarded == OPEN


async def test_on_loopback_without_keys_everything_may_be_asked(http: httpx.AsyncClient, app: FastAPI):
    assert (await http.get("/v1/status")).status_code == 200
    assert (await http.get("/v1/follow-ups")).status_code == 200
