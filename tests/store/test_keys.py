"""Accounts' keys are made once, kept wrapped, and gone when they are forgotten."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from engage.events.sealing import open_text, seal_text
from engage.services.edge import Keyring
from engage.store.keys import KeyStore, MasterKeyError, MasterKeyFile, load_master_key
from tests.store.key_files import master_file


@pytest.fixture
def masters(tmp_path: Path) -> MasterKeyFile:
    return load_master_key(tmp_path / "master.key")


@pytest.fixture
def keys(url: str, masters: MasterKeyFile) -> Iterator[KeyStore]:
    opened = KeyStore(url, masters)
    yield opened
    opened.close()


def test_an_account_keeps_its_key_also_after_a_restart(keys: KeyStore, url: str, masters: MasterKeyFile) -> None:
    keyring: Keyring = keys
    made = keyring.current(["a", "b", "a"])
    assert sorted(made) == ["a", "b"]
    assert made["a"].generation == 1
    assert made["a"].secret != made["b"].secret
    again = KeyStore(url, masters)
    assert again.current(["b", "a"]) == made
    assert again.all_of("a") == {1: made["a"]}
    again.close()


def test_an_account_that_was_never_asked_for_has_no_key(keys: KeyStore) -> None:
    assert keys.all_of("nobody") == {}
    assert keys.current([]) == {}


def test_keys_at_hand_are_those_there_are_and_none_that_was_forgotten(keys: KeyStore) -> None:
    made = keys.current(["a", "b", "c"])
    at_hand = made if keys.database.sqlite else {}  # who asks PostgreSQL has to wait
    assert keys.at_hand(["a", "b", "c", "new"]) == at_hand
    keys.forget("a", 1)
    assert keys.at_hand(["a"]) == {}
    again = keys.current(["a"])["a"]
    assert keys.at_hand(["a"]) == ({"a": again} if at_hand else {})
    assert again.generation == 2


def test_thousands_of_accounts_get_their_keys_at_once(keys: KeyStore) -> None:
    accounts = [f"acc-{number}" for number in range(3_000)]
    made = keys.current(accounts)
    assert len({key.secret for key in made.values()}) == len(accounts)
    assert keys.current(accounts) == made


def test_two_processes_that_ask_at_once_get_the_same_keys(keys: KeyStore, url: str, masters: MasterKeyFile) -> None:
    rival = KeyStore(url, masters)
    accounts = [f"acc-{number}" for number in range(200)]
    with ThreadPoolExecutor(4) as pool:
        asked = [
            pool.submit(store.current, accounts[::step])
            for store, step in ((keys, 1), (rival, -1), (keys, 1), (rival, -1))
        ]
        first, *others = [one.result() for one in asked]
    rival.close()
    assert all(other == first for other in others)


def test_no_key_lies_in_the_database_in_plain(keys: KeyStore, url: str) -> None:
    key = keys.current(["a"])["a"]
    engine = create_engine(url)
    with engine.connect() as connection:
        [wrapped, master] = connection.execute(text("SELECT wrapped, master FROM account_keys")).one()
    engine.dispose()
    assert key.secret not in bytes(wrapped)
    assert len(wrapped) == len(key.secret) + 8  # RFC 3394 adds one block of 64 bits
    assert master == 1


def test_a_forgotten_key_opens_nothing_and_the_account_goes_on_with_a_new_one(keys: KeyStore) -> None:
    first = keys.current(["a"])["a"]
    sealed = seal_text("Ada", first, "a")
    keys.forget("a", 1)
    keys.forget("a", 1)
    assert keys.all_of("a") == {}
    second = keys.current(["a"])["a"]
    assert second.generation == 2
    assert keys.all_of("a") == {2: second}
    assert open_text(sealed, first, "a") == "Ada"


def test_a_forgotten_key_leaves_no_trace_in_sqlite_s_files(tmp_path: Path, masters: MasterKeyFile) -> None:
    keys = KeyStore(f"sqlite:///{tmp_path}/keys.db", masters)
    keys.current(["a", "b"])
    keys.at_hand(["a", "b"])
    with keys.database.read() as connection:
        wrapped = bytes(connection.scalar(text("SELECT wrapped FROM account_keys WHERE account = 'a'")) or b"")
    assert any(wrapped in path.read_bytes() for path in tmp_path.iterdir())
    keys.forget("a", 1)
    assert not any(wrapped in path.read_bytes() for path in tmp_path.iterdir())
    keys.close()


def test_another_master_key_is_refused_at_once(keys: KeyStore, url: str, tmp_path: Path) -> None:
    other = master_file(tmp_path / "other.key", {1: bytes(32)})
    with pytest.raises(MasterKeyError, match=r"wrapped by another master key.*put the master key file"):
        KeyStore(url, other)


def test_a_file_that_lacks_the_master_key_in_force_is_refused_and_names_it(
    keys: KeyStore, url: str, tmp_path: Path
) -> None:
    later = master_file(tmp_path / "later.key", {2: bytes(32)})
    with pytest.raises(MasterKeyError, match=r"are wrapped by master key 1, .*later.key holds 2: put the file"):
        KeyStore(url, later)


def test_an_altered_key_is_noticed(keys: KeyStore) -> None:
    keys.current(["a"])
    with keys.database.write() as connection:
        connection.execute(text("UPDATE account_keys SET wrapped = :wrapped"), {"wrapped": bytes(40)})
    with pytest.raises(MasterKeyError, match=r"key 1 of 'a' .* was altered"):
        keys.all_of("a")


def test_the_master_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "master.key"
    made = load_master_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_master_key(path).keys == made.keys
    assert made.newest.generation == 1
    assert len(made.newest.secret) == 32
    assert list(path.parent.iterdir()) == [path]
    assert "secret" not in repr(made.newest)


def test_processes_that_start_together_agree_on_one_master_key(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: load_master_key(path).newest.secret, range(16)))
    assert len(found) == 1


def test_a_master_key_that_others_may_read_is_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    load_master_key(path)
    path.chmod(0o644)
    with pytest.raises(MasterKeyError, match=r"can be read by others \(mode 0644\).*chmod 600"):
        load_master_key(path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "engage-master-key:1:c2hvcnQ=",
        "engage-master-key:one:xx",
        "é",
        "engage-derived-key:links:1:" + "A" * 43 + "=",
    ],
)
def test_a_file_that_is_no_master_key_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "master.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(MasterKeyError, match="holds no master key"):
        load_master_key(path)
