"""Whoever mistypes a query parameter is told so by every route that asks who they are, and nothing is done."""

import re

import httpx
import pytest

from engage.http.direct import Application

BY_THEMSELVES = {"/v1/hooks/{name}"}
"""What others call as they were told to; so are ``direct_paths``, where events come in."""


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/follow-ups?asignee=ada", "asignee: is not known here: did you mean assignee?"),
        ("/v1/accounts/customer-17?as_off=2026-03-01&x=1", "as_off: is not known here: did you mean as_of?; x: is not"),
        ("/v1/accounts/customer-17/timeline?colour=red", "colour: is not known here: as_of, before, family, limit"),
        ("/v1/views/profile/customer-17?field=account", "field: is not known here: did you mean fields?"),
        ("/v1/views?name=profile", "name: is not known here, and nothing else is"),
    ],
)
async def test_the_nearest_that_there_is_is_named(http: httpx.AsyncClient, path: str, said: str):
    answer = await http.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert said in answer.json()["detail"]
    assert answer.json()["faults"][0]["pointer"] == f"/query/{said.partition(':')[0]}"


async def test_every_route_that_asks_who_one_is_refuses_what_it_does_not_know_and_says_so_in_its_document(
    http: httpx.AsyncClient, app: Application
):
    document = app.openapi()["paths"]
    guarded = [
        (method, path) for path, told in document.items() for method in told if "401" in told[method]["responses"]
    ]
    assert len(guarded) > 40
    for method, path in guarded:
        if path in BY_THEMSELVES | app.direct_paths and method == "post":
            continue
        assert "422" in document[path][method]["responses"], f"{method} {path}"
        answer = await http.request(method, re.sub(r"\{[^}]*\}", "profile", path), params={"no_such_thing": "1"})
        assert answer.status_code == 422, f"{method} {path}: {answer.text}"
        assert answer.json()["faults"][0]["pointer"] == "/query/no_such_thing"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/accounts/customer-17", "as_of"),
        ("/v1/accounts/customer-17/timeline", "since"),
        ("/v1/dead-letters", "since"),
    ],
)
async def test_a_year_or_a_number_is_no_moment(http: httpx.AsyncClient, path: str, name: str):
    for said in ("2026", "0.5", "2026-03-01", "2026-03-01T09:00:00"):
        answer = await http.get(path, params={name: said})
        assert (answer.status_code, answer.json()["faults"][0]["pointer"]) == (422, f"/query/{name}")
        assert "write 2026-03-01T09:00:00Z" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_probes_may_add_what_they_like(http: httpx.AsyncClient, path: str):
    assert (await http.get(path, params={"probe": "1"})).status_code != 422
