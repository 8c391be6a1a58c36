"""An account that is asked for again is answered from memory, but never with what is no longer so."""

import httpx
import pytest

from engage.services.platform import Platform
from engage.services.reading import Account, Reading
from tests.http.given import Clock, order


@pytest.fixture
def folded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The accounts that were really looked up."""
    found: list[str] = []
    really = Reading.account

    def looked_up(self: Reading, account: str) -> Account | None:
        found.append(account)
        return really(self, account)

    monkeypatch.setattr(Reading, "account", looked_up)
    return found


async def test_the_same_answer_until_the_read_models_change(
    http: httpx.AsyncClient, platform: Platform, folded: list[str]
):
    path = "/v1/accounts/customer-17"
    assert (await http.get(path)).status_code == 404
    await http.post("/v1/events", json=order())
    await platform.projector.catch_up()
    first, second = await http.get(path), await http.get(path)
    assert folded == ["customer-17"] * 2
    assert (second.status_code, second.content) == (200, first.content)
    assert second.headers["content-type"] == "application/json"
    assert second.headers["x-content-type-options"] == "nosniff"
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    await http.post("/v1/events", json=order("order-2"))
    await platform.projector.catch_up()
    third = await http.get(path)
    assert folded == ["customer-17"] * 3
    assert third.content != first.content


async def test_an_answer_holds_for_its_moment_only(
    http: httpx.AsyncClient, platform: Platform, clock: Clock, folded: list[str]
):
    await http.post("/v1/events", json=order())
    await platform.projector.catch_up()
    before = (await http.get("/v1/accounts/customer-17")).json()["health"]["as_of"]
    clock.move(seconds=1)
    assert (await http.get("/v1/accounts/customer-17")).json()["health"]["as_of"] != before
    assert len(folded) == 2


async def test_other_questions_and_problems_are_asked_anew(http: httpx.AsyncClient, folded: list[str]):
    for _ in range(2):
        assert (await http.get("/v1/accounts/nobody")).status_code == 404
        assert (await http.get("/v1/accounts/nobody?wait_for=nonsense")).status_code == 422
    assert folded == ["nobody"] * 2
