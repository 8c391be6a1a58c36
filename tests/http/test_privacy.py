"""A person's rights over HTTP."""

from urllib.parse import quote

import httpx
import pytest

from engage.services.platform import Platform
from tests.http.given import STRANGE_IDS, order


@pytest.mark.parametrize("account", STRANGE_IDS)
async def test_a_copy_is_given_and_then_it_is_erased(http: httpx.AsyncClient, platform: Platform, account: str):
    data = {"kind": "customer", "name": "Ada Lovelace-Byron"}
    identified = order("p-1", account, type="Account Identified", data=data)
    assert (await http.post("/v1/events", json=identified)).status_code == 200
    await platform.settle()
    path = f"/v1/privacy/{quote(account, safe='').replace('.', '%2E')}"
    held = (await http.get(path)).json()
    assert (held["account"], held["events"][0]["data"]["name"], held["erased"]) == (
        account,
        "Ada Lovelace-Byron",
        False,
    )
    done = await http.delete(path)
    assert (done.status_code, done.json()) == (200, {"account": account, "generation": 1, "gone_by": None})
    assert (await http.get(path)).json()["events"][0]["data"]["name"] == "[erased]"


async def test_who_is_not_there_is_told(http: httpx.AsyncClient):
    for answer in (await http.get("/v1/privacy/nobody"), await http.delete("/v1/privacy/nobody")):
        assert answer.status_code == 404
        assert "there is no account 'nobody'" in answer.json()["detail"]
