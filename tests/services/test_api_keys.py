"""Keys are made, replaced and ended, in either database, and none of it goes without a trace."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, text

from engage.services.api_keys import ApiKeys
from engage.store.access import AccessStore, ApiKeyError, NoApiKeyError
from engage.store.api_keys import digest_of, id_in
from tests.http.given import Clock

DAY = timedelta(days=1)


@pytest.fixture
def store(url: str) -> Iterator[AccessStore]:
    with closing(AccessStore(url)) as opened:
        yield opened


@pytest.fixture
def keys(store: AccessStore, clock: Clock) -> ApiKeys:
    return ApiKeys(store, "ada", clock)


def holding(keys: ApiKeys, clock: Clock) -> list[str]:
    return [key.id for key in keys.every() if key.holds(clock())]


def test_a_key_is_as_it_was_asked_for_and_only_its_digest_is_kept(keys: ApiKeys, store: AccessStore, url: str) -> None:
    key, secret = keys.create("shop", ["publish"], ["urn:shop"], expires=90 * DAY, rate=50)
    assert secret.startswith(f"{key.prefix}_")
    assert len(secret) > 60
    with closing(AccessStore(url)) as reopened:
        [(kept, digest)] = reopened.every_key()
    assert kept == key
    assert (kept.scopes, kept.sources, kept.rate) == (("publish",), ("urn:shop",), 50)
    assert kept.expires == kept.created + 90 * DAY
    assert digest == digest_of(secret)
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        rows = [repr(connection.execute(text(f"SELECT * FROM {name}")).all()) for name in ("api_keys", "audit")]
    engine.dispose()
    assert key.id in rows[0]
    assert not any(secret.split("_", 2)[2] in row for row in rows)


def test_of_two_keys_no_part_is_the_same(keys: ApiKeys) -> None:
    (one, first), (other, second) = keys.create("a", ["read"]), keys.create("b", ["read"])
    assert one.id != other.id
    assert first[20:] != second[20:]
    assert (id_in(first), id_in("else")) == (one.id, None)


def test_a_name_has_one_key_at_a_time(keys: ApiKeys) -> None:
    keys.create("shop", ["publish"])
    with pytest.raises(ApiKeyError, match="rotate"):
        keys.create("shop", ["read"])
    keys.revoke("shop")
    keys.create("shop", ["read"])


def test_a_rotated_key_holds_for_its_grace_and_the_new_one_has_its_rights(keys: ApiKeys, clock: Clock) -> None:
    before, _ = keys.create("shop", ["publish"], ["urn:shop"], expires=30 * DAY, rate=5)
    clock.move(days=20)
    after, _ = keys.rotate("shop", DAY)
    assert (after.scopes, after.sources, after.rate) == (before.scopes, before.sources, before.rate)
    assert after.expires == clock() + 30 * DAY
    assert holding(keys, clock) == [before.id, after.id]
    clock.move(days=1)
    assert holding(keys, clock) == [after.id]


def test_a_rotation_never_makes_an_old_key_hold_longer(keys: ApiKeys, clock: Clock) -> None:
    before, _ = keys.create("shop", ["publish"], expires=timedelta(hours=2))
    keys.rotate("shop", 7 * DAY)
    clock.move(hours=2)
    assert before.id not in holding(keys, clock)


def test_a_revoked_key_is_listed_and_holds_no_more(keys: ApiKeys, clock: Clock) -> None:
    first, _ = keys.create("shop", ["publish"])
    second, _ = keys.rotate("shop", DAY)
    assert [key.id for key in keys.revoke(second.prefix)] == [second.id]
    assert holding(keys, clock) == [first.id]
    assert [key.id for key in keys.revoke("shop")] == [first.id]
    assert holding(keys, clock) == []
    assert len(keys.every()) == 2
    for verb in (keys.revoke, lambda name: keys.rotate(name, DAY)):
        with pytest.raises(NoApiKeyError, match="'shop'"):
            verb("shop")


@pytest.mark.parametrize("name", ["", "Shop", "a/b", "ada@example.com", "a" * 65, "a\nb", "-a"])
def test_a_name_that_could_pass_for_another_or_for_a_person_is_refused(keys: ApiKeys, name: str) -> None:
    with pytest.raises(ApiKeyError, match="cannot name a key"):
        keys.create(name, ["read"])
    assert keys.every() == []


def test_wrong_rights_are_refused_with_a_hint(keys: ApiKeys) -> None:
    with pytest.raises(ApiKeyError, match="did you mean publish"):
        keys.create("shop", ["publsh"])
    with pytest.raises(ApiKeyError, match="add the scope publish"):
        keys.create("shop", ["read"], ["urn:shop"])
    with pytest.raises(ApiKeyError, match="no event's source"):
        keys.create("shop", ["publish"], [""])


def test_every_change_says_who_made_it_and_a_refused_one_leaves_no_trace(
    keys: ApiKeys, store: AccessStore, clock: Clock
) -> None:
    keys.create("shop", ["publish"])
    with pytest.raises(ApiKeyError):
        keys.create("shop", ["publish"])
    clock.move(days=1)
    keys.rotate("shop", DAY)
    keys.revoke("shop")
    told = [(deed.actor, deed.command, deed.thing, deed.outcome) for deed in store.deeds(10)]
    assert told == [("ada", f"api-keys {verb}", "shop", "done") for verb in ("revoke", "rotate", "create")]
    assert store.deeds(1)[0].time == clock()
