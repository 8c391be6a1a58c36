"""How often somebody may ask: as their key says, else as the settings do; who proves nothing is not counted."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from engage.services.access import FRESH_SECONDS, LOCAL, Access, AccessUnavailableError, UnknownCallerError
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


async def test_keys_are_read_anew_before_they_are_stale_and_nobody_waits_for_it(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = 100.0
    monkeypatch.setattr("engage.services.access.monotonic", lambda: moment)
    assert access.at_hand(None) is None, "nothing is known yet"
    assert await access.caller(None) is ANYBODY
    ApiKeys(access.store, "ada", Clock()).create("shop", ["publish"])
    moment += FRESH_SECONDS * 0.75
    assert access.at_hand(None) is ANYBODY, "they are taken for what they were, and read anew from here on"
    async with asyncio.timeout(10):
        while access.at_hand(None) is not None:
            await asyncio.sleep(0.001)
    moment += FRESH_SECONDS * 0.75
    with pytest.raises(UnknownCallerError):
        await access.caller(None)


async def test_keys_that_cannot_be_read_are_taken_for_what_they_were_until_they_are_stale(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = 100.0
    monkeypatch.setattr("engage.services.access.monotonic", lambda: moment)
    assert await access.caller(None) is ANYBODY

    def unreadable() -> None:
        raise OperationalError("SELECT", None, sqlite3.OperationalError("disk I/O error"))

    monkeypatch.setattr(access.store, "every_key", unreadable)
    moment += FRESH_SECONDS * 0.75
    for _ in range(5):
        assert access.at_hand(None) is ANYBODY
        await asyncio.sleep(0.001)
    moment += FRESH_SECONDS
    assert access.at_hand(None) is None
    with pytest.raises(AccessUnavailableError):
        await access.caller(None)
