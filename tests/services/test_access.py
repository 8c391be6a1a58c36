"""How often somebody may ask: as their key says, else as the settings do; who proves nothing is not counted."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from engage.services.access import LOCAL, Access, UnknownCallerError
from engage.services.api_keys import ApiKeys
from engage.services.callers import ANYBODY, Caller
from engage.store.access import AccessStore
from tests.http.given import Clock


@pytest.fixture
def access(tmp_path: Path) -> Iterator[Access]:
    with closing(AccessStore(f"sqlite:///{tmp_path}/access.db")) as store:
        yield Access(store, Clock(), rate=0.01)


def waits(access: Access, caller: Caller) -> bool:
    access.wait(caller)
    return access.wait(caller) > 0


def test_a_key_without_a_rate_has_that_of_the_settings(access: Access) -> None:
    assert waits(access, Caller("shop"))
    assert waits(access, Caller("oidc:ada"))


def test_a_keys_own_rate_goes_before(access: Access) -> None:
    assert not waits(access, Caller("shop", rate=1_000))


def test_two_keys_of_a_name_share_its_rate(access: Access) -> None:
    assert access.wait(Caller("shop", sources=("urn:a",))) == 0
    assert access.wait(Caller("shop", sources=("urn:b",))) > 0


async def test_a_door_that_has_asked_once_is_not_opened_by_emptying_the_keys(
    tmp_path: Path, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engage.services.access.FRESH_SECONDS", 0.0)
    assert await access.caller(None) is ANYBODY
    ApiKeys(access.store, "ada", Clock()).create("shop", ["publish"])
    with pytest.raises(UnknownCallerError):
        await access.caller(None)
    with closing(sqlite3.connect(tmp_path / "access.db")) as elsewhere:
        elsewhere.execute("DELETE FROM api_keys")
        elsewhere.commit()
    with pytest.raises(UnknownCallerError):
        await access.caller(None)


def test_who_proves_nothing_is_not_counted(access: Access) -> None:
    assert not waits(access, ANYBODY)
    assert not waits(access, LOCAL)
