"""What events look like is asked for over HTTP."""

import httpx
import pytest
from jsonschema import Draft202012Validator

from engage.events.catalogue import CATALOGUE
from tests.http.given import order


async def test_every_type_is_listed_with_the_way_to_its_schema(http: httpx.AsyncClient):
    listed = (await http.get("/v1/schemas")).json()["schemas"]
    assert [one["type"] for one in listed] == list(CATALOGUE)
    for one in (listed[0], *(each for each in listed if each["type"] == "Order Completed")):
        answer = await http.get(one["schema"])
        assert answer.headers["content-type"] == "application/schema+json"
        assert answer.json()["title"] == one["type"]


async def test_a_schema_tells_a_good_event_from_a_bad_one(http: httpx.AsyncClient):
    checked = Draft202012Validator((await http.get("/v1/schemas/Order%20Completed")).json())
    assert checked.is_valid(order())
    assert not checked.is_valid(order(data={"total": "59.90"}))


@pytest.mark.parametrize("name", ["Gift%20Sent", "a%2Fb", "%F0%9F%98%80", "%FF"])
async def test_a_type_that_nobody_declared_has_none(http: httpx.AsyncClient, name: str):
    assert (await http.get(f"/v1/schemas/{name}")).status_code == 404


async def test_the_asyncapi_document_names_the_topics(http: httpx.AsyncClient):
    answer = await http.get("/v1/asyncapi.json")
    assert answer.headers["content-type"].startswith("application/vnd.aai.asyncapi+json")
    assert answer.json()["channels"]["interactions"]["address"] == "engage.interactions"
