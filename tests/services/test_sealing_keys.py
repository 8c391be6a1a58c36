"""A rotated master key opens every account's key, beside those who go on working and whenever the rotation dies."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text

from engage.events.sealing import AccountKey
from engage.services import sealing_keys
from engage.services.links import BadLinkError, Links, Unsubscribe
from engage.services.sealing_keys import rotate
from engage.store.keys import KeyStore, MasterKeyError, MasterKeyFile, load_master_key
from engage.store.webhooks import Endpoint, Secret, Subscription, WebhookStore
from tests.store.key_files import master_file

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ACCOUNTS = [f"acc-{number}" for number in range(1_200)]
STEPS = ("new key in the file", "some wrapped", "all wrapped", "old key gone from the store")


@pytest.fixture
def masters(tmp_path: Path) -> MasterKeyFile:
    return load_master_key(tmp_path / "master.key")


@pytest.fixture
def keys(url: str, masters: MasterKeyFile) -> Iterator[KeyStore]:
    with closing(KeyStore(url, masters)) as opened:
        yield opened


def test_every_key_is_wrapped_by_the_new_master_key_and_the_old_one_is_gone(keys: KeyStore, tmp_path: Path):
    made = keys.current(ACCOUNTS)
    keys.forget("acc-7", 1)
    old = keys.masters.newest
    done = rotate(keys)
    assert (done.generation, done.let_go, done.keys) == (2, (1,), len(ACCOUNTS) - 1)
    [master] = sealing_keys.masters(keys)
    assert (master.generation, master.name, master.keys, master.wraps_new) == (2, done.name, len(ACCOUNTS) - 1, True)
    assert done.name != old.name
    assert f"engage-master-key:{old.generation}:" not in keys.masters.path.read_text()
    del made["acc-7"]
    assert keys.current(made) == made
    assert keys.all_of("acc-7") == {}
    assert keys.current(["acc-7"])["acc-7"].generation == 2


def test_no_copy_of_what_the_old_master_key_wrapped_stays_behind(tmp_path: Path, masters: MasterKeyFile):
    with closing(KeyStore(f"sqlite:///{tmp_path}/keys.db", masters)) as keys:
        keys.current(ACCOUNTS[:50])
        with keys.database.read() as connection:
            wrapped = [bytes(one) for one in connection.scalars(text("SELECT wrapped FROM account_keys"))]
        rotate(keys)
        files = b"".join(path.read_bytes() for path in tmp_path.glob("keys.db*"))
        assert not [one for one in wrapped if one in files]


@pytest.mark.fault
@pytest.mark.parametrize("step", STEPS)
def test_a_rotation_that_was_killed_goes_on_and_nothing_is_lost(keys: KeyStore, url: str, tmp_path: Path, step: str):
    made = keys.current(ACCOUNTS)
    process = subprocess.run(
        [sys.executable, "-m", "tests.services.rotating_process", url, str(tmp_path), step],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert keys.current([*ACCOUNTS, "new"]).items() >= made.items(), "who works beside it reads and makes keys"
    with closing(KeyStore(url, load_master_key(tmp_path / "master.key"))) as begun:
        assert begun.current(ACCOUNTS) == made, "and so does who begins now"
    assert rotate(keys).generation == 2, "it goes on, and begins no other"
    assert [key.generation for key in keys.masters.keys] == [2]
    assert keys.current(ACCOUNTS) == made


def test_others_make_and_read_keys_while_it_is_rotated_again_and_again(keys: KeyStore, url: str, tmp_path: Path):
    made = keys.current(ACCOUNTS)
    ended = threading.Event()
    wrong: list[str] = []

    def work() -> None:
        with closing(KeyStore(url, load_master_key(tmp_path / "master.key"))) as other:
            number = 0
            while not ended.is_set():
                fresh = other.current([f"fresh-{number}", f"acc-{number % len(ACCOUNTS)}"])
                if other.all_of(f"fresh-{number}")[1] != fresh[f"fresh-{number}"]:
                    wrong.append(f"fresh-{number}")
                number += 1

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for generation in (2, 3, 4):
            assert rotate(keys).generation == generation
    finally:
        ended.set()
        worker.join()
    assert wrong == []
    assert [one.generation for one in sealing_keys.masters(keys)] == [4]
    assert keys.current(ACCOUNTS) == made


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_made_forgotten_and_rotated_in_turn_each_account_has_the_keys_it_should(
    keys: KeyStore, url: str, tmp_path: Path, seed: int
):
    chance = random.Random(seed)
    expected: dict[str, dict[int, AccountKey]] = {account: {} for account in ACCOUNTS[:12]}
    newest = dict.fromkeys(expected, 0)
    with closing(KeyStore(url, load_master_key(tmp_path / "master.key"))) as rival:
        for _ in range(60):
            store = chance.choice((keys, rival))
            asked = chance.sample(sorted(expected), chance.randrange(1, 7))
            match chance.randrange(8):
                case 0:
                    forgotten = chance.randrange(1, max(newest[asked[0]], 1) + 1)
                    store.forget(asked[0], forgotten)
                    expected[asked[0]] = {one: key for one, key in expected[asked[0]].items() if one > forgotten}
                case 1:
                    rotate(store)
                case _:
                    for account, key in store.current(asked).items():
                        if newest[account] not in expected[account]:
                            newest[account] += 1
                            expected[account] = {newest[account]: key}
                        assert key == expected[account][newest[account]]
            account = chance.choice(asked)
            assert chance.choice((keys, rival)).all_of(account) == expected[account]
            assert store.newest_generation(account) == newest[account]
        assert keys.current(expected) == rival.current(expected)


def test_a_prepared_key_wraps_nothing_until_it_is_rotated_to(keys: KeyStore):
    keys.current(["a"])
    prepared = sealing_keys.prepare(keys)
    assert sealing_keys.prepare(keys) == prepared
    assert [(one.generation, one.keys, one.wraps_new) for one in sealing_keys.masters(keys)] == [
        (2, 0, False),
        (1, 1, True),
    ]
    assert rotate(keys).name == prepared.name


def test_two_do_not_rotate_at_once(keys: KeyStore):
    with keys.masters.rotating(), pytest.raises(MasterKeyError, match="another process rotates"):
        rotate(keys)
    assert [key.generation for key in keys.masters.keys] == [1]


def test_a_machine_that_did_not_get_the_new_key_is_told_so_and_its_own_rotation_leaves_no_trace(
    keys: KeyStore, url: str, tmp_path: Path
):
    keys.current(["a"])
    elsewhere = master_file(tmp_path / "elsewhere.key", {1: keys.masters.newest.secret})
    with closing(KeyStore(url, elsewhere)) as there:
        rotate(keys)
        with pytest.raises(MasterKeyError, match=r"wrapped by master key 2, .*elsewhere.key holds 1: put the file"):
            there.current(["a", "b"])
        with pytest.raises(MasterKeyError, match="another master key"):
            rotate(there)
        assert [key.generation for key in elsewhere.keys] == [1]


def test_links_in_mails_outlive_the_master_key_unless_they_are_to_end(keys: KeyStore, masters: MasterKeyFile):
    keys.current(["a"])
    links = Links(partial(masters.derived, "links"), "https://engage.example", lambda: NOW)
    link = Unsubscribe(account="a")
    first = links.token(link)
    rotate(keys)
    second = links.token(link)
    assert first != second
    rotate(keys)
    assert links.read(first).link == links.read(second).link == link
    third = links.token(link)
    rotate(keys, keep_links=False)
    for token in (first, second, third):
        with pytest.raises(BadLinkError):
            links.read(token)


def test_the_secrets_of_webhooks_are_sealed_anew(keys: KeyStore, url: str, tmp_path: Path, masters: MasterKeyFile):
    keys.current(["a"])
    with closing(
        WebhookStore(url.replace("store.db", "webhooks.db"), partial(masters.derived, "webhooks"))
    ) as webhooks:
        endpoint = Endpoint(
            id="we_1",
            url="https://crm.example",
            subscription=Subscription(events=("Order Completed",)),
            secrets=(Secret("whsec_x"),),
            created=NOW,
        )
        webhooks.add(endpoint, [])
        assert rotate(keys, webhooks).webhooks == 1
        assert webhooks.endpoints() == [endpoint]
